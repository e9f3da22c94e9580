"""A program in YAML, which knows the components by their schema alone, on an existing cluster and on Google Cloud: real
engine, language host and component package, stand-ins for the providers' plugins."""

import json
import re
from typing import Any

import go_programs
import pytest
import yaml

from tests.google.conftest import CHECKOUT, Stack

IMAGES = {name: f"registry.example.com/{name}@sha256:{'a' * 64}" for name in ("trainer", "serving")}
CLUSTER: Any = {"trainer_image": IMAGES["trainer"], "serving_image": IMAGES["serving"], "data_claim": "raw"}
DEV = yaml.safe_load((CHECKOUT / "stacks/Pulumi.dev.yaml").read_text())["config"]["penstock:gcp"]
PIPELINE: Any = {
    "problem": "flights",
    "preprocessing": {"raw": ["gs://acme-raw/*.csv"]},
    "tuning": {"trials": 2, "processes": 2},
    "training": {"parameter_servers": 1, "workers": 2},
    "endpoint": {"min_replicas": 2, "max_replicas": 2},
    "keep": ["models"],
}
PYTHON = """
    import pulumi
    from penstock import Pipeline

    flow = Pipeline("flow", {args!r})
    pulumi.export("digest", flow.model_digest)
"""
WORDS = {
    "cluster": {**PIPELINE, "platform": {"kubernetes": CLUSTER}, "preprocessing": {"raw": ["/data/*.csv"]}},
    "dev": {**PIPELINE, "platform": {"gcp": DEV}},
}
"""By stack."""


def camel(name: str) -> str:
    """A key as the schema has it."""
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def plugins(trial: Stack) -> None:
    """The language host and the component package, for this engine."""
    for program in (go_programs.program("pulumi-language-yaml"), CHECKOUT / ".venv/bin/pulumi-resource-penstock"):
        (trial.folder / "plugins" / program.name).symlink_to(program)
    # What is dynamic runs in a Python that has `penstock`, whatever the program is written in.
    trial.around["PULUMI_PYTHON_CMD"] = str(CHECKOUT / ".venv/bin/python")


@pytest.mark.parametrize("name", WORDS)
def test_a_program_in_yaml_makes_what_the_same_one_in_python_makes(name, tmp_path, schemas, kubeconfig):
    args = WORDS[name]
    own, trial = (Stack(tmp_path / language, schemas, name) for language in ("python", "yaml"))
    own.program(PYTHON.format(args=args))
    plugins(trial)
    # Of the platform the schema knows the fields of a cluster; Google's are those of docs/gcp.md, as they stand there.
    said = {"cluster": {"kubernetes": {camel(key): value for key, value in CLUSTER.items()}}, "dev": {"gcp": DEV}}
    properties = {**args, "platform": said[name]}
    resources = {"flow": {"type": "penstock:index:Pipeline", "properties": properties}}
    program = {"name": "trial", "runtime": "yaml", "resources": resources, "outputs": {"digest": "${flow.modelDigest}"}}
    (trial.folder / "Pulumi.yaml").write_text(json.dumps(program))
    made = {}
    for each in (own, trial):
        each.run("stack", "init", name)
        made[each] = each.steps(KUBECONFIG=str(kubeconfig), GOOGLE_PROJECT=DEV["project"])
    assert {f"flow-{stage}" for stage in ("tune-study", "train-model", "serve-server")} <= {
        each.rpartition(" ")[2] for each in made[trial]
    }
    assert made[trial] == made[own]
