"""The components for other languages: their schema on record, what breaks it, and a program that knows nothing else."""

import copy
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import schema_changes

from tests.reuse.conftest import CHECKOUT, PACKAGE, PATH, consuming
from tests.reuse.test_own_repository import ROW, asked

RECORDED = CHECKOUT / "modules/schema.json"
REGENERATE = "PENSTOCK_SCHEMA=write .venv/bin/python -m pytest -q tests/reuse/test_component_package.py -k record"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What the engine says in a preview for what it does not know yet."""
ENDPOINT, TRAINING, LOCAL = "penstock:index:Endpoint", "penstock:index:Training", "penstock:index:LocalPlatformArgs"


def schema_of(program, home):
    """The schema, as the engine gets it from a program."""
    own = {"PATH": PATH, "PULUMI_HOME": str(home), "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"}
    command = ["pulumi", "package", "get-schema", program]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_schema_is_the_one_on_record(foreign, tmp_path):
    """From the program that the wheel installs."""
    found = schema_of(foreign / "bin/pulumi-resource-penstock", tmp_path)
    if os.environ.get("PENSTOCK_SCHEMA") == "write":
        RECORDED.write_text(found)
    assert json.loads(found) == json.loads(RECORDED.read_text()), f"if this is what is wanted: {REGENERATE}"


def test_a_language_host_that_knows_source_based_packages_gets_the_same_components(foreign, tmp_path):
    """By what it starts for a folder with PulumiPlugin.yaml; the language host itself is older here."""
    assert (CHECKOUT / "modules/PulumiPlugin.yaml").read_text() == "runtime: python\n"
    hosted = tmp_path / "pulumi-resource-penstock"
    hosted.write_text(f'#!/bin/sh\nexec "{foreign}/bin/python" -m pulumi.run.plugin penstock "$@"\n')
    hosted.chmod(0o755)
    found, recorded = json.loads(schema_of(hosted, tmp_path)), json.loads(RECORDED.read_text())
    assert {key: found[key] for key in ("resources", "types")} == {key: recorded[key] for key in ("resources", "types")}


def test_every_component_input_and_output_says_what_it_is():
    recorded = json.loads(RECORDED.read_text())
    parts = {**recorded["resources"], **recorded["types"]}
    silent = [token for token, each in parts.items() if not each.get("description")]
    for token, each in parts.items():
        for kind in ("properties", "inputProperties"):
            silent += [f"{token}.{name}" for name, said in each.get(kind, {}).items() if not said.get("description")]
    assert silent == []


def _gone(schema):
    del schema["resources"][ENDPOINT]


def _input_gone(schema):
    del schema["resources"][ENDPOINT]["inputProperties"]["port"]


def _newly_required(schema):
    schema["resources"][ENDPOINT]["requiredInputs"].append("port")


def _new_and_required(schema):
    schema["types"][LOCAL]["properties"]["key"] = {"type": "string"}
    schema["types"][LOCAL]["required"] = ["key"]


def _another_type(schema):
    schema["resources"][ENDPOINT]["inputProperties"]["port"]["type"] = "string"


def _another_item(schema):
    schema["resources"][ENDPOINT]["inputProperties"]["traffic"]["additionalProperties"]["type"] = "string"


def _output_gone(schema):
    del schema["resources"][TRAINING]["properties"]["digest"]


def _output_optional(schema):
    schema["resources"][TRAINING]["required"].remove("digest")


def _type_gone(schema):
    del schema["types"][LOCAL]


def _no_output_any_more(schema):
    schema["resources"][TRAINING]["inputProperties"]["store"]["plain"] = True


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_gone, f"{ENDPOINT} is gone"),
        (_input_gone, f"{ENDPOINT}: port is gone"),
        (_newly_required, f"{ENDPOINT}: port is required"),
        (_new_and_required, f"{LOCAL}: key is required"),
        (_another_type, f"{ENDPOINT}: port was integer, is string"),
        (_another_item, f"{ENDPOINT}: traffic was {{number}}, is {{string}}"),
        (_output_gone, f"{TRAINING}: output digest is gone"),
        (_output_optional, f"{TRAINING}: output digest may be absent"),
        (_type_gone, f"{LOCAL} is gone"),
        (_no_output_any_more, f"{TRAINING}: store may not be an output any more"),
    ],
)
def test_a_change_that_breaks_a_program_is_told(change, told):
    old = json.loads(RECORDED.read_text())
    new = copy.deepcopy(old)
    change(new)
    assert schema_changes.breaking(old, new) == [told]


def test_what_is_new_or_said_otherwise_breaks_nobody():
    old = json.loads(RECORDED.read_text())
    new = copy.deepcopy(old)
    endpoint = new["resources"][ENDPOINT]
    endpoint["inputProperties"]["further"] = {"type": "string"}
    endpoint["properties"]["further"] = {"type": "string"}
    endpoint["required"].append("further")
    endpoint["requiredInputs"].remove("modelName")
    endpoint["description"] = "Other words."
    new["resources"]["penstock:index:Further"] = endpoint
    assert schema_changes.breaking(old, new) == []


def test_a_new_major_version_may_break_and_below_one_a_new_minor():
    assert schema_changes.says_so("0.1.0", "0.2.0")
    assert schema_changes.says_so("1.4.2", "2.0.0")
    assert not schema_changes.says_so("0.1.0", "0.1.1")
    assert not schema_changes.says_so("1.4.2", "1.5.0")


def test_since_the_last_release_nothing_breaks_that_the_version_does_not_announce():
    tag = _git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*")
    if not tag:
        released = re.findall(r"^## v?\d+\.\d+", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
        blind = _git("rev-parse", "--is-shallow-repository").strip() == "true"
        assert not (released or blind) or "GITHUB_ACTIONS" not in os.environ, "the tags are not here: fetch-depth: 0"
        pytest.skip("there is no release yet")
    old, new = json.loads(_git("show", f"{tag}:modules/schema.json")), json.loads(RECORDED.read_text())
    assert schema_changes.says_so(old["version"], new["version"]) or schema_changes.breaking(old, new) == []


@pytest.fixture
def consumer(tmp_path, environments, foreign):
    folder = tmp_path / "consumer"
    shutil.copytree(Path(__file__).parent / "consumer", folder)
    shutil.copy(RECORDED, folder / "schema.json")
    with consuming(folder, environments, foreign) as program:
        yield program


def test_a_program_that_knows_only_the_schema_deploys_a_component_and_reads_its_outputs(consumer, carried):
    model = carried.artifact("flow-train-model")
    consumer.configure(model=model, port=consumer.port, platform={"lokal": {}})
    told = consumer.run("preview", expected=1)
    assert "argument 'platform' is {}: expected one of local, kubernetes, gcp" in told

    consumer.configure(platform={"local": {"serving": "serving/.venv"}})
    consumer.up()
    outputs = consumer.outputs()
    assert outputs["url"] == f"{outputs['base']}/v1/models/late"
    assert asked(outputs["url"], ROW)[1] == model["digest"]
    assert "unchanged" in consumer.up()


def test_every_component_of_such_a_program_runs_what_that_of_a_python_program_runs(consumer, carried):
    """By what the real engine would start: on the way there, whole numbers have become floats."""
    (consumer.folder / "data").symlink_to(carried.folder / "data")
    stages = ("flow-preprocess-dataset", "flow-tune-study", "flow-train-model")
    dataset, study, model = (carried.artifact(stage) for stage in stages)
    common = {"platform": {"local": {}}, "problem": f"{PACKAGE}.late"}
    stored = {**common, "store": str(carried.folder / ".penstock/local/artifacts")}
    raw, search, single = {"raw": ["data/*.csv"]}, {"trials": 1, "processes": 1}, {"strategy": "local", "epochs": 1}
    pipeline = {"preprocessing": raw, "tuning": search, "training": single, "endpoint": {"port": consumer.port + 1}}
    others = {
        "prepare": ["Preprocessing", {**stored, **raw}],
        "search": ["Tuning", {**stored, **search, "dataset": dataset}],
        "train": ["Training", {**stored, **single, "dataset": dataset, "study": study}],
        "compare": ["Comparison", {**stored, "dataset": dataset, "candidate": model, "minimumGain": 0.5}],
        "watch": ["Monitoring", {"windowSeconds": 60, "minimumRows": 10}],
        "flow": ["Pipeline", {**common, **pipeline, "keep": ["models"]}],
    }
    components = {token.rpartition(":")[2] for token in json.loads(RECORDED.read_text())["resources"]}
    assert {kind for kind, _ in others.values()} | {"Endpoint"} == components
    consumer.configure(model=model, port=consumer.port, platform={"local": {}}, others=others)
    steps = json.loads(consumer.run("preview", "--json"))["steps"]
    found = {step["urn"].rpartition("::")[2]: step["newState"].get("inputs") for step in steps}
    made = carried.resources()
    for stage, alone in zip(stages, ("prepare-dataset", "search-study", "train-model"), strict=True):
        assert found[alone]["roles"] == made[stage]["roles"]
        assert found[alone]["digests"] == made[stage]["digests"]
        assert _known(found[stage]) == _known(made[stage])
    assert found["compare-decision"]["roles"]["chief"]["command"][-2:] == ["--minimum-gain", "0.5"]
    assert found["flow-serve-server"]["port"] == consumer.port + 1
    assert found["flow-store"]["keep"] == ["models"]
    assert "watch" in found


def _known(job):
    """The roles of a job without what is known only when the stages before it are done: paths below the store."""
    known = {**job["roles"]}
    for role, each in known.items():
        known[role] = {**each, "command": [word for word in each["command"] if word != UNKNOWN and word[0] != "/"]}
    return known


def _git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
