"""Single workloads as the modules render them, on real nodes: no pipeline around them, so they take seconds."""

import json
from pathlib import Path

import pytest
from cluster import image

from penstock import Job, Program, Role, Service
from penstock.errors import ServiceFailed, StageFailed
from penstock.kubernetes import database, serving
from penstock.kubernetes import workspace as workspaces
from penstock.kubernetes.job_result import JobResultProvider
from penstock.kubernetes.job_set import JobSetArgs, job_set
from penstock.kubernetes.pods import PodSpec, labels, pod
from penstock.kubernetes.readiness import ReadinessProvider
from penstock.platform import Resources
from tests.cluster.conftest import PODS, eventually
from tests.pods.conftest import NODES, ended, volume
from tests.pods.test_policies import CONNECT

SPACE, STACK, STUDY = "penstock-single", "single", "tune"
NEVER = "import time\nprint('reading the model', flush=True)\ntime.sleep(600)"
# Runs trials as `tune` does, without a model: each takes a moment, so that both pods have some.
TRIALS = """
import json, sys, time
from pathlib import Path
import optuna
from penstock_trainer import study_storage
shared = study_storage.connect(sys.argv[1], Path("/tmp"))
with shared.exclusive():
    study = optuna.create_study(storage=shared.trials, study_name="shared", load_if_exists=True)
mine = []
while len(study.get_trials(deepcopy=False)) < 12:
    with shared.exclusive():
        trial = study.ask()
        shared.take(trial)
    time.sleep(1)
    study.tell(trial, trial.suggest_float("x", 0, 1))
    mine.append(trial.number)
open("/dev/termination-log", "w").write(json.dumps(mine))
"""


@pytest.fixture(scope="module")
def space(plane, api):
    """A namespace as a stack has it, with a volume for its claim; the wait for a workload in it, as `up` waits."""
    args = workspaces.WorkspaceArgs(STACK, SPACE, storage_class="shared")
    volume(api, "single", plane.folder / "volumes" / "single", {"namespace": SPACE, "name": "artifacts"})
    api.request("POST", "/api/v1/namespaces", body=workspaces.namespace(args))
    for each in [*workspaces.objects(args).values(), workspaces.claim(args)]:
        make(api, each)

    def wait(kind, name, seconds):
        props = {"name": name, "urn": "", "kubeconfig": str(plane.kubeconfig), "context": "", "kind": kind}
        props |= {"namespace": SPACE, "workload": name, "uid": "", "asked": ""}
        ReadinessProvider().create({**props, "timeout_seconds": seconds, "start_seconds": 60})

    with pytest.MonkeyPatch.context() as alone:
        # The provider's first argument is the engine's address; here is none.
        alone.setattr("sys.argv", ["provider"])
        yield wait
    api.request("DELETE", f"/api/v1/namespaces/{SPACE}")


def make(api, manifest):
    kind = api.kind(manifest["apiVersion"], manifest["kind"])
    return api.request("POST", kind.collection(SPACE), body=manifest)


def test_a_server_that_runs_and_is_never_ready_is_told_with_its_probe_and_its_last_lines(plane, api, space):
    image_ = plane.kubelets.images()["serving"]
    args = serving.ServingArgs(STACK, image_, "artifacts", resources=Resources(0.1, 0.5))
    made = serving.objects("serve", Service(Program.SERVER, [], port=8501), [], args)["deployment"]
    made["spec"]["template"]["spec"]["containers"][0]["command"] = ["python", "-c", NEVER]
    make(api, made)
    with pytest.raises(ServiceFailed) as told:
        space("Deployment", "serve", 20)
    first, *lines = str(told.value).splitlines()
    assert first == "Deployment serve was not ready after 20 seconds: pods: 0 ready, 1 not ready"
    assert any(line.startswith("pod serve-") and line.endswith(" runs and is not ready") for line in lines), lines
    assert any(line.startswith("Unhealthy: Startup probe failed: ") for line in lines), lines
    assert lines[-1] == "reading the model"


def test_a_trainer_that_raises_is_told_with_its_role_its_exit_code_and_its_last_words(plane, api, space):
    raises = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "raises"}}
    make(api, {**raises, "data": {"raises.py": "raise RuntimeError('nobody has thought of this')\n"}})
    command = ["raw", "--problem", "/problem/raises.py", "--artifacts", "/artifacts"]
    job = Job(Program.TRAINER, {"chief": Role(command, resources=Resources(0.1, 0.5))})
    args = JobSetArgs(STACK, {Program.TRAINER: plane.kubelets.images()["trainer"]}, "artifacts", {}, problem="raises")
    made = make(api, job_set("raw", job, {"chief": command}, {}, args))
    props = {"name": "raw", "urn": "", "kubeconfig": str(plane.kubeconfig), "context": "", "namespace": SPACE}
    props |= {"job_set": made["metadata"]["name"], "uid": "", "success_role": "chief"}
    with pytest.raises(StageFailed) as told:
        JobResultProvider().create({**props, "timeout_seconds": 120, "start_seconds": 60})
    first, second, *_ = str(told.value).splitlines()
    assert first == "raw failed: chief 0 ended with exit code 2"
    assert "RuntimeError: nobody has thought of this" in second


def test_two_pods_share_a_study_in_the_postgresql_that_a_stack_makes_and_nobody_else_reaches_it(plane, api, space):
    (*_, programs) = [None, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    if programs is None:
        pytest.skip("NOT TESTED: nodes run this machine's PostgreSQL, which is not there: apt-get install postgresql")
    own, trainer = f"{STUDY}-database", plane.kubelets.images()["trainer"]
    name = plane.kubelets.load(image.bare("postgresql", str(programs)), *range(NODES))
    volume(api, own, plane.folder / "volumes" / own, {"namespace": SPACE, "name": f"data-{own}-0"})
    secret = {**database.secret(STUDY, STACK), "stringData": {"password": "correct horse"}}
    made = database.objects(STUDY, database.DatabaseArgs(STACK, name, "shared"))
    for each in [secret, database.edge(STUDY, STACK, database.own_url(STUDY)), *made.values()]:
        make(api, each)
    space("StatefulSet", own, 120)

    def run(workload, code, *arguments):
        spec = pod(PodSpec(Program.TRAINER, trainer, [], Resources(0.1, 0.5), environment=database.environment(own)))
        spec["containers"][0] |= {"command": ["python", "-c", code], "args": list(arguments)}
        metadata = {"generateName": "probe-", "labels": labels(STACK, workload, "probe")}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, "restartPolicy": "Never"}}
        return f"{PODS.format(SPACE)}/{make(api, body)['metadata']['name']}"

    def known():
        asked = "PGPASSWORD=$(cat /keys/password) exec psql -h 127.0.0.1 -U penstock postgres -Atc"
        query = "select count(*) from trials where state = 'COMPLETE'"
        return plane.kubectl("exec", "--namespace", SPACE, f"{own}-0", "--", "sh", "-c", f'{asked} "{query}"').strip()

    sharing = [run(STUDY, TRIALS, database.own_url(STUDY)) for _ in range(2)]
    first, second = (json.loads(ended(api, path)) for path in sharing)
    assert first
    assert second
    assert sorted([*first, *second]) == list(range(len(first) + len(second))), "no trial is anybody else's"
    assert known() == str(len(first) + len(second))

    path = f"{PODS.format(SPACE)}/{own}-0"
    before = api.get(path)
    where, expected = {"database": (before["status"]["podIP"], database.PORT)}, {"database": False}
    asking = run("another", CONNECT, json.dumps(where), json.dumps(expected))
    assert json.loads(ended(api, asking)) == expected

    api.request("DELETE", path)
    eventually(lambda: (api.get(path) or before)["metadata"]["uid"] != before["metadata"]["uid"], "another pod", 60)
    space("StatefulSet", own, 60)
    assert known() == str(len(first) + len(second)), "it knows all that it knew"
