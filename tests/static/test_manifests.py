"""Every manifest that the modules render, judged by others' linters: no finding but those that REASONS explains.

Linters do not look into a JobSet, so it is exploded into its Jobs first.
"""

import json
import re
import subprocess
from pathlib import Path

import go_programs
import pytest

from penstock import Job, Program, Role, Service
from penstock.kubernetes import Machine, operator, workspace
from penstock.kubernetes.job_set import JobSetArgs, disruption_budget, edges, job_set
from penstock.kubernetes.serving import ServingArgs, objects

PROJECT = Path(__file__).resolve().parents[2]
NAMESPACE = "penstock"
REASONS = {
    "ImagePullPolicy is not set to Always": "a digest names one image for ever, which need not be asked for again",
    "Deployment does not have a host podAntiAffinity set": "topologySpreadConstraints spread its pods over nodes",
}


def image(name):
    return f"registry.example.com/{name}@sha256:{'a' * 64}"


def exploded(manifest):
    """The Jobs of a JobSet, as its controller makes them."""
    for each in manifest["spec"]["replicatedJobs"]:
        metadata = {
            "name": f"{manifest['metadata']['name']}-{each['name']}-0",
            "labels": manifest["metadata"]["labels"],
        }
        yield {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": each["template"]["spec"]}


def rendered():
    """What a stack with everything has."""
    roles = {
        "chief": Role(["train"]),
        "ps": Role(["train"], replicas=2, restarts=3),
        "worker": Role(["train"], replicas=3, restarts=3),
        "evaluator": Role(["train"]),
    }
    machines = {"worker": Machine(accelerators=1, node_selector={"a": "b"})}
    args = JobSetArgs("dev", {Program.TRAINER: image("trainer")}, "artifacts", machines, "raw", "problem", "queue")
    commands = {role: ["train"] for role in roles}
    made = [*exploded(job_set("model", Job(Program.TRAINER, roles), commands, {}, args))]
    made += [edges("model", args), disruption_budget("model", 7, args)]
    service = Service(Program.SERVER, [], port=8501, min_replicas=2, max_replicas=9)
    made += objects("serve", service, ["--name", "a"], ServingArgs("dev", image("serving"), "artifacts")).values()
    space = workspace.WorkspaceArgs("dev", NAMESPACE)
    made += [*workspace.objects(space).values(), workspace.claim(space)]
    for each in made:
        each["metadata"]["namespace"] = NAMESPACE
    operated = operator.Operated(
        "dev", "gitops", "dev", repository="https://git.example/a", image=image("pulumi"), deploys_to=NAMESPACE
    )
    # The operator's own kinds are nobody's but the operator's to judge.
    rights = [each for part, each in operator.objects(operated).items() if part != "stack"]
    return [*made, *rights]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The manifests, and the same with one pod that may do everything."""
    folder = tmp_path_factory.mktemp("manifests")
    good, bad = folder / "good.yaml", folder / "bad.yaml"
    manifests = rendered()
    good.write_text("\n---\n".join(json.dumps(each) for each in manifests))
    pod = manifests[0]["spec"]["template"]["spec"]
    pod["hostNetwork"] = True
    pod["containers"][0]["securityContext"] = {"privileged": True}
    bad.write_text("\n---\n".join(json.dumps(each) for each in manifests))
    return good, bad


def kube_score(file):
    command = [go_programs.program("kube-score"), "score", "--output-format", "ci", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.findall(r"^\[(?:CRITICAL|WARNING)\] (\S+) (.*)$", done.stdout, re.MULTILINE)
    assert "[OK]" in done.stdout, done.stdout + done.stderr
    return [(what, re.sub(r"^\S+: (\(\w+\) )?", "", told)) for what, told in found]


def checkov(file):
    command = [PROJECT / ".tools/linters/bin/python", PROJECT / ".tools/linters/bin/checkov", "--file", str(file)]
    command += ["--framework", "kubernetes", "--compact", "--quiet", "--skip-download", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert found["summary"]["passed"] > 100
    assert found["summary"]["parsing_errors"] == 0
    return [f"{each['check_id']} {each['resource']}" for each in found["results"]["failed_checks"]]


def test_kube_score_finds_nothing_but_what_has_a_reason(files):
    found = kube_score(files[0])
    assert [each for each in found if each[1] not in REASONS] == []
    assert {told for _, told in found} == set(REASONS), "a reason that nothing needs any more goes"


def test_checkov_finds_nothing(files):
    assert checkov(files[0]) == []


def test_the_linters_do_see_into_the_jobs(files):
    assert any("privileged" in told.lower() for _, told in kube_score(files[1]))
    assert any(each.startswith("CKV_K8S_16 ") for each in checkov(files[1])), "privileged"
