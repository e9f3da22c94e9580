"""Every manifest that the modules render, judged by others' linters: no finding but those that REASONS explains.

Linters look neither into a JobSet nor into a Knative Service: they are exploded first into what is made of them.
"""

import json
import re
import subprocess
from pathlib import Path

import custom_kinds
import go_programs
import pytest
from cluster import build

from penstock.kubernetes import operator
from tests import manifests

PROJECT = Path(__file__).resolve().parents[2]
LINTERS = PROJECT / ".tools/linters/bin"
KUBECONFORM = PROJECT / "tools/kubeconform"
MINOR = build.KUBERNETES.rpartition(".")[0]
OF_GOOGLE = PROJECT / "tests/google_crds.json"
"""What GKE declares of its own kinds; the file says whence."""
REASONS = {
    "ImagePullPolicy is not set to Always": "a digest names one image for ever, which need not be asked for again",
    "Deployment does not have a host podAntiAffinity set": "topologySpreadConstraints spread its pods over nodes",
}
CHECKOV = {
    "CKV_K8S_35 Job.penstock.train-": "PostgreSQL's client takes no password from a file that a group may read, as a "
    "Secret's is",
    "CKV_K8S_35 CronJob.penstock.serve-skew": "servers and monitors take a webhook by their environment everywhere",
    "CKV_K8S_29 Deployment.penstock.serve-knative": "Knative takes a pod's security context by a feature only; each "
    "container says all of its own",
}
"""By check and what it found, or how that begins."""
AT_ZERO = {
    "Deployment few replicas": "KEDA says how many, down to none; one activator counts what waits for them",
    "No matching PodDisruptionBudget was found": "a budget would keep a replica, and there may be none",
    "Container has the same readiness and liveness probe": "an activator that listens is ready: it holds requests",
}
"""Of a stack whose endpoint may have no replica, beside those."""
BY_KNATIVE = {
    "No matching PodDisruptionBudget was found": "a budget would keep a replica, and there may be none",
}
"""Of a stack whose endpoint Knative looks after, beside those."""
ON_GKE = {
    "HPA few replicas": "one replica, the least, is what is asked for here; more of them are a setting",
    "No matching PodDisruptionBudget was found": "a budget would keep the one replica, and no node could be drained",
}
"""Of a stack on GKE, beside those."""
OF_NO_NAMESPACE = ("PersistentVolume", "ComputeClass")


def exploded(manifest):
    """The Jobs of a JobSet, as its controller makes them."""
    for each in manifest["spec"]["replicatedJobs"]:
        metadata = {
            "name": f"{manifest['metadata']['name']}-{each['name']}-0",
            "labels": manifest["metadata"]["labels"],
        }
        yield {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": each["template"]["spec"]}


def deployed(manifest):
    """The Deployment that Knative makes of a revision, without the proxy that it puts before the server."""
    made = manifest["spec"]["template"]
    spec = {key: value for key, value in made["spec"].items() if key not in ("containerConcurrency", "timeoutSeconds")}
    content = {"selector": {"matchLabels": made["metadata"]["labels"]}, "template": {**made, "spec": spec}}
    return {**manifest, "apiVersion": "apps/v1", "kind": "Deployment", "spec": content}


def by_knative():
    """A stack whose endpoint Knative looks after."""
    made = [deployed(each) if each["kind"] == "Service" else each for each in manifests.by_knative()]
    made += manifests.workspace()
    for each in made:
        each["metadata"]["namespace"] = manifests.NAMESPACE
    return made


def on_gke():
    """A stack on GKE: with Google's own kinds, the bucket mounted, ways to it and to the studies' database."""
    made = []
    for each in manifests.on_google():
        made += exploded(each) if each["kind"] == "JobSet" else [each]
    for each in made:
        if each["kind"] not in OF_NO_NAMESPACE:
            each["metadata"]["namespace"] = manifests.NAMESPACE
    return made


def rendered():
    """What a stack with everything has, but for Google's own; JobSets as Jobs, which is what linters see into."""
    made = []
    parts = [*manifests.job(), *manifests.study_database(), *manifests.serving(2, 9)]
    for each in [*parts, *manifests.monitor(), *manifests.workspace()]:
        made += exploded(each) if each["kind"] == "JobSet" else [each]
    for each in made:
        each["metadata"]["namespace"] = manifests.NAMESPACE
    operated = operator.Operated(
        "dev",
        "gitops",
        "dev",
        repository="https://git.example/a",
        image=f"registry.example.com/pulumi@sha256:{'a' * 64}",
        deploys_to=manifests.NAMESPACE,
    )
    # The operator's own kinds are nobody's but the operator's to judge.
    rights = [each for part, each in operator.objects(operated).items() if part != "stack"]
    return [*made, *rights]


def down_to_zero():
    """A stack whose endpoint splits by a plan, is scaled by KEDA, and has an HTTPRoute."""
    made = [*manifests.scaled(), manifests.routed(), *manifests.workspace()]
    for each in made:
        each["metadata"]["namespace"] = manifests.NAMESPACE
    return made


def written(made, file):
    """The file with these manifests."""
    file.write_text("\n---\n".join(json.dumps(each) for each in made))
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """For manifests in files."""
    return tmp_path_factory.mktemp("manifests")


@pytest.fixture(scope="module")
def good(folder):
    """A stack with everything."""
    return written(rendered(), folder / "good.yaml")


@pytest.fixture(scope="module")
def zero(folder):
    """A file of its own: both have an endpoint of one name, and a linter would take one for the other."""
    return written(down_to_zero(), folder / "zero.yaml")


@pytest.fixture(scope="module")
def knative(folder):
    """A third one."""
    return written(by_knative(), folder / "knative.yaml")


@pytest.fixture(scope="module")
def gke(folder):
    """A fourth one."""
    return written(on_gke(), folder / "gke.yaml")


@pytest.fixture(scope="module")
def bad(folder):
    """A stack with one pod that may do everything."""
    made = rendered()
    pod = made[0]["spec"]["template"]["spec"]
    pod["hostNetwork"] = True
    pod["containers"][0]["securityContext"] = {"privileged": True}
    return written(made, folder / "bad.yaml")


def kube_score(file):
    command = [go_programs.program("kube-score"), "score", "--output-format", "ci", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.findall(r"^\[(?:CRITICAL|WARNING)\] (\S+) (.*)$", done.stdout, re.MULTILINE)
    assert "[OK]" in done.stdout, done.stdout + done.stderr
    return [(what, re.sub(r"^\S+: (\(\w+\) )?", "", told)) for what, told in found]


def checkov(*files):
    command = [LINTERS / "python", LINTERS / "checkov", "--file", *map(str, files)]
    command += ["--framework", "kubernetes", "--compact", "--quiet", "--skip-download", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert found["summary"]["passed"] > 100
    assert found["summary"]["parsing_errors"] == 0
    return [f"{each['check_id']} {each['resource']}" for each in found["results"]["failed_checks"]]


@pytest.mark.parametrize(
    ("stack", "reasons"),
    [
        ("good", REASONS),
        ("zero", {**REASONS, **AT_ZERO}),
        ("knative", {**REASONS, **BY_KNATIVE}),
        ("gke", {**REASONS, **ON_GKE}),
    ],
)
def test_kube_score_finds_nothing_but_what_has_a_reason(request, stack, reasons):
    found = kube_score(request.getfixturevalue(stack))
    assert [each for each in found if each[1] not in reasons] == []
    assert {told for _, told in found} == set(reasons), "a reason that nothing needs any more goes"


def test_checkov_finds_nothing_but_what_has_a_reason(good, zero, knative, gke):
    found = checkov(good, zero, knative, gke)
    assert [each for each in found if not each.startswith(tuple(CHECKOV))] == []
    assert [reason for reason in CHECKOV if not any(each.startswith(reason) for each in found)] == []


def test_the_linters_do_see_into_the_jobs(bad):
    assert any("privileged" in told.lower() for _, told in kube_score(bad))
    assert any(each.startswith("CKV_K8S_16 ") for each in checkov(bad)), "privileged"


@pytest.fixture(scope="module")
def schemas(tmp_path_factory):
    """The schema of each kind, in which no field is taken that it does not name: Kubernetes' own as kubernetes-validate
    ships them, the others made of their CustomResourceDefinitions by the script that comes with kubeconform.
    """
    folder = tmp_path_factory.mktemp("schemas")
    source = custom_kinds.fetched(KUBECONFORM, "github.com/yannh/kubeconform")
    converter = source / "scripts/openapi2jsonschema.py"
    naming = {"FILENAME_FORMAT": "{fullgroup}_{kind}_{version}", "DENY_ROOT_ADDITIONAL_PROPERTIES": "1"}
    declared = [*custom_kinds.files(), OF_GOOGLE]
    subprocess.run([LINTERS / "python", converter, *declared], cwd=folder, env=naming, check=True)
    (own,) = LINTERS.parent.glob(f"lib/*/site-packages/kubernetes_validate/kubernetes-json-schema/v{MINOR}.*-strict")
    for file in own.iterdir():
        schema = json.loads(file.read_text().replace('"/api/_definitions.json#', '"_definitions.json#'))
        schema.pop("$id", None)  # by which references would be looked for in the internet
        (folder / file.name).write_text(json.dumps(schema))
    return folder


def kubeconform(schemas, made):
    """What is invalid, and the kinds that nobody defines."""
    command = [go_programs.program("kubeconform"), "-strict", "-output", "json"]
    for name in ("{{.ResourceKind}}{{.KindSuffix}}", "{{.Group}}_{{.ResourceKind}}_{{.ResourceAPIVersion}}"):
        command += ["-schema-location", f"{schemas}/{name}.json"]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    done = subprocess.run(command, input=listed, capture_output=True, text=True, check=False)
    findings, undefined = [], []
    for each in json.loads(done.stdout)["resources"]:
        if each["msg"] == f"could not find schema for {each['kind']}":
            undefined.append(f"{each['version']} {each['kind']}")
        else:
            findings.append(f"{each['kind']} {each['name']}: {each['msg']}")
    assert bool(done.returncode) == bool(findings or undefined), done.stderr
    return findings, sorted(set(undefined))


def test_every_field_is_one_that_its_kind_has_custom_kinds_included(schemas):
    assert kubeconform(schemas, manifests.everything()) == ([], []), "each kind has a schema, and nothing breaks it"


def test_kubernetes_validate_finds_nothing_either(tmp_path):
    made = manifests.everything()
    wrong = next(each for each in manifests.everything() if each["kind"] == "CronJob")
    wrong["spec"]["jobTemplate"]["spec"]["backOffLimit"] = 0
    for number, each in enumerate([*made, wrong]):
        (tmp_path / f"{number}.json").write_text(json.dumps(each))
    files = [str(tmp_path / f"{number}.json") for number in range(len(made) + 1)]
    command = [LINTERS / "python", "-m", "kubernetes_validate", "--strict", "--kubernetes-version", MINOR, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    passed = re.findall(r"^INFO (\S+) passed", done.stdout, re.MULTILINE)
    unknown = re.findall(r"^WARN (\S+) Couldn't find schema", done.stdout, re.MULTILINE)
    assert {*files} - {*passed} - {*unknown} == {files[-1]}, done.stdout
    assert len(passed) > 20


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("JobSet", lambda spec: spec["failurePolicy"].update(maxRestart=3), "'maxRestart' not allowed"),
        ("JobSet", lambda spec: spec["successPolicy"].update(operator="Most"), "must be one of 'All', 'Any'"),
        ("ScaledObject", lambda spec: spec.update(coolDownPeriod=3), "'coolDownPeriod' not allowed"),
        ("Service", lambda spec: spec["template"]["spec"].update(timeoutSecond=3), "'timeoutSecond' not allowed"),
        ("HTTPRoute", lambda spec: spec["rules"][0]["backendRefs"][0].update(port="http"), "got string, want integer"),
        ("CronJob", lambda spec: spec["jobTemplate"]["spec"].update(backOffLimit=0), "'backOffLimit' not allowed"),
        ("ComputeClass", lambda spec: spec["priorities"][0].update(spot=True), "'spot' not allowed"),
        ("ComputeClass", lambda spec: spec.update(whenUnsatisfiable="Wait"), "'ScaleUpAnyway', 'DoNotScaleUp'"),
        ("HealthCheckPolicy", lambda spec: spec["targetRef"].pop("group"), "missing property 'group'"),
        ("HealthCheckPolicy", lambda spec: spec["default"]["config"].pop("type"), "missing property 'type'"),
        (
            "HealthCheckPolicy",
            lambda spec: spec["default"]["config"]["httpHealthCheck"].update(requestPath="readyz"),
            "does not match pattern",
        ),
        ("PodMonitoring", lambda spec: spec["endpoints"][0].pop("port"), "missing property 'port'"),
        ("PodMonitoring", lambda spec: spec["endpoints"][0].update(interval="30 s"), "does not match pattern"),
    ],
)
def test_a_field_that_is_misspelt_or_has_a_wrong_value_is_found(schemas, kind, change, told):
    wrong = next(each for each in manifests.everything() if each["kind"] == kind and each["apiVersion"] != "v1")
    change(wrong["spec"])
    (finding, *_), _ = kubeconform(schemas, [wrong])
    assert told in finding
