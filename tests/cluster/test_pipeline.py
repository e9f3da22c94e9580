"""The whole pipeline deployed by the real engine to a real API server; its programs are played."""

import base64
import json
import re

from tests.cluster.conftest import JOB_SETS, eventually, image, replicas
from tests.conftest import CHECKOUT, engine_of


def test_up_runs_each_stage_as_a_job_set_and_serves_the_model_it_left(deployed, programs, api):
    database = "postgresql://tuner@10.1.2.3/studies"
    deployed.configure(tuning_storage=database)
    deployed.hide("cluster.database_password", "hunter2hunter2")
    assert "hunter2hunter2" not in deployed.run("up")
    outputs = deployed.outputs()
    assert [arguments[0] for arguments in programs.seen] == ["raw", "preprocess", "tune", "train"]
    assert outputs["model_digest"] == "sha256:train"
    assert outputs["rows"] == {"rows": 6000}
    assert outputs["endpoint"].startswith("http://flow-serve-server.")
    server = api.get(f"/apis/apps/v1/namespaces/{deployed.namespace}/deployments/flow-serve-server")
    arguments = server["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "/artifacts/train/key" in arguments
    assert "sha256:train" in arguments
    assert server["status"]["availableReplicas"] == 1

    tune = next(arguments for arguments in programs.seen if arguments[0] == "tune")
    assert tune[tune.index("--storage") + 1] == database
    space = f"/api/v1/namespaces/{deployed.namespace}"
    kept = api.get(f"{space}/secrets/flow-tune-study-database")["data"]["password"]
    assert base64.b64decode(kept) == b"hunter2hunter2"
    pod = next(each for each in replicas(api, deployed.namespace, "chief") if "tune-study" in each["metadata"]["name"])
    (told,) = [each for each in pod["spec"]["containers"][0]["env"] if each["name"] == "PGPASSWORD"]
    assert told["valueFrom"]["secretKeyRef"]["name"] == "flow-tune-study-database"
    policies = f"/apis/networking.k8s.io/v1/namespaces/{deployed.namespace}/networkpolicies"
    edge = api.get(f"{policies}/flow-tune-study-database")["spec"]["egress"][0]
    assert edge == {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"protocol": "TCP", "port": 5432}]}
    state = json.dumps(deployed.deployment())
    assert "hunter2hunter2" not in state
    assert kept not in state

    again = deployed.apply()
    assert "unchanged" in again
    assert not any(word in again for word in ("created", "updated", "replaced")), again

    programs.model = "sha256:newer"
    deployed.configure(epochs=2, tuning_storage=database, traffic={"latest": 10, "previous": 90})
    deployed.apply()
    server = api.get(f"/apis/apps/v1/namespaces/{deployed.namespace}/deployments/flow-serve-server")["spec"]["template"]
    (plan,) = [each["configMap"]["name"] for each in server["spec"]["volumes"] if each["name"] == "plan"]
    told = json.loads(api.get(f"{space}/configmaps/{plan}")["data"]["plan.json"])
    assert {number: each["digest"] for number, each in told["versions"].items()} == {
        "1": "sha256:train",
        "2": "sha256:newer",
    }
    assert told["traffic"] == {"2": 10, "1": 90}
    assert api.get(f"{space}/secrets/flow-tune-study-database") is None, "no password is asked for any more"
    deployed.configure(epochs=2, tuning_storage=database, traffic={"3": 100})
    assert "setting 'traffic' names '3'" in deployed.apply(expected=255)

    deployed.run("down")
    assert api.get(f"/api/v1/namespaces/{deployed.namespace}") is None


def test_what_is_to_be_kept_stays_and_the_studys_database_goes(deployed, programs, api, volume):
    space = f"/api/v1/namespaces/{deployed.namespace}"
    webhook = "https://hooks.example:8443/T0ken"
    watched = {"monitoring": {"minimum_rows": 50}, "cluster": {"skew_schedule": "*/10 * * * *"}}
    data = {"namespace": deployed.namespace, "name": "data-flow-tune-study-database-0"}
    volume(f"database-{deployed.stack}", data)
    watched["cluster"]["database_image"] = image("postgresql")
    deployed.configure(keep=["models"], tuning_storage="postgresql", **watched)
    deployed.hide("monitoring.webhook", webhook)
    deployed.apply()
    check_database(deployed, programs, api)
    judge = api.get(f"/apis/batch/v1/namespaces/{deployed.namespace}/cronjobs/flow-serve-server-skew")["spec"]
    container = judge["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][:2] == ["--model", "/artifacts/train/key"]
    assert container["args"][container["args"].index("--minimum-rows") + 1] == "50"
    kept = api.get(f"{space}/secrets/flow-serve-server-skew")["data"]["PENSTOCK_ALERT_WEBHOOK"]
    assert base64.b64decode(kept).decode() == webhook
    policies = f"/apis/networking.k8s.io/v1/namespaces/{deployed.namespace}/networkpolicies"
    assert api.get(f"{policies}/flow-serve-server-skew")["spec"]["egress"][0]["ports"][0]["port"] == 8443
    assert "T0ken" not in json.dumps(deployed.deployment())
    claim = api.get(f"{space}/persistentvolumeclaims/artifacts")["metadata"]["uid"]
    deployed.run("down")
    assert api.get(f"{space}/persistentvolumeclaims/artifacts")["metadata"]["uid"] == claim
    assert api.items(f"{space}/pods") == []
    held = f"{space}/persistentvolumeclaims/{data['name']}"
    eventually(lambda: api.get(held) is None, "the study's database leaves nothing")


def test_raw_files_on_a_claim_as_the_page_has_it_and_what_is_kept_is_taken_over(
    deployed, programs, api, plane, volume, tmp_path
):
    space = f"/api/v1/namespaces/{deployed.namespace}"
    claims = f"{space}/persistentvolumeclaims"
    deployed.configure(raw="/data/*.csv", keep=["models"], cluster={"data_claim": "raw"})
    assert f"namespace {deployed.namespace} has no claim 'raw'" in deployed.preview(expected=255)
    file = tmp_path / "raw-claim.yaml"
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "raw"}}
    asked = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    file.write_text(json.dumps({**claim, "spec": {**asked, "storageClassName": "shared"}}))
    volume(f"raw-{deployed.stack}", {"namespace": deployed.namespace, "name": "raw"})
    page = (CHECKOUT / "docs/kubernetes.md").read_text()
    (typed,) = re.findall(r"```sh\n(kubectl create namespace .*?)```", page, re.DOTALL)
    own = {"penstock-cluster": deployed.namespace, "=cluster": f"={deployed.stack}", file.name: str(file)}
    for name, ours in own.items():
        typed = typed.replace(name, ours)
    for line in typed.splitlines():
        command, *arguments = line.split()
        assert command == "kubectl"
        plane.kubectl(*arguments)
    deployed.run("up")
    assert [arguments[0] for arguments in programs.seen] == ["preprocess", "tune", "train"]
    pod = next(each for each in replicas(api, deployed.namespace, "chief") if "dataset" in each["metadata"]["name"])
    mounted = {each["name"]: each.get("persistentVolumeClaim") for each in pod["spec"]["volumes"]}
    assert mounted["data"] == {"claimName": "raw", "readOnly": True}
    kept = {name: api.get(f"{claims}/{name}")["metadata"]["uid"] for name in ("raw", "artifacts")}
    deployed.run("down")
    assert {name: api.get(f"{claims}/{name}")["metadata"]["uid"] for name in kept} == kept
    deployed.run("up")
    assert {name: api.get(f"{claims}/{name}")["metadata"]["uid"] for name in kept} == kept


def test_artifacts_lie_on_a_claim_of_one_s_own_which_stays_with_the_namespace(deployed, programs, api, plane, volume):
    space = f"/api/v1/namespaces/{deployed.namespace}"
    claims = f"{space}/persistentvolumeclaims"
    deployed.configure(cluster={"artifacts_claim": "store", "storage_class": ""})
    assert "has no claim 'store', which `artifacts_claim` names" in deployed.preview(expected=255)
    plane.kubectl("create", "namespace", deployed.namespace)
    plane.kubectl("label", "namespace", deployed.namespace, f"app.kubernetes.io/instance={deployed.stack}")
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "store"}}
    asked = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    volume(f"store-{deployed.stack}", {"namespace": deployed.namespace, "name": "store"})
    made = api.request("POST", claims, body={**claim, "spec": {**asked, "storageClassName": "shared"}})
    deployed.run("up")
    assert [each["metadata"]["name"] for each in api.items(claims)] == ["store"]
    server = api.get(f"/apis/apps/v1/namespaces/{deployed.namespace}/deployments/flow-serve-server")
    pods = [*replicas(api, deployed.namespace, "chief"), server["spec"]["template"]]
    for pod in pods:
        mounted = {each["name"]: each.get("persistentVolumeClaim", {}) for each in pod["spec"]["volumes"]}
        assert mounted["artifacts"]["claimName"] == "store"
    deployed.run("down")
    assert api.get(f"{claims}/store")["metadata"]["uid"] == made["metadata"]["uid"]
    assert api.items(f"{space}/pods") == []


def check_database(deployed, programs, api):
    """The stack has made the database that the study was told of, with a password that no state shows."""
    tune = next(arguments for arguments in programs.seen if arguments[0] == "tune")
    assert tune[tune.index("--storage") + 1] == "postgresql://penstock@flow-tune-study-database:5432/postgres"
    server = api.get(f"/apis/apps/v1/namespaces/{deployed.namespace}/statefulsets/flow-tune-study-database")
    assert server["status"]["availableReplicas"] == 1
    kept = api.get(f"/api/v1/namespaces/{deployed.namespace}/secrets/flow-tune-study-database")["data"]["password"]
    password = base64.b64decode(kept).decode()
    assert len(password) == 32
    state = json.dumps(deployed.deployment())
    assert password not in state
    assert kept not in state
    again = deployed.apply()
    assert not any(word in again for word in ("created", "updated", "replaced")), again


def test_a_job_goes_on_without_the_run_that_was_killed_while_it_waited_and_the_next_waits_for_the_same_one(
    deployed, programs, api
):
    def training():
        found = api.items(JOB_SETS.format(deployed.namespace))
        return [each for each in found if each["metadata"]["labels"]["penstock.dev/workload"] == "flow-train-model"]

    programs.held = "train"
    started = deployed.start("up")
    deployed.wait_for("flow-train-model-result", started)
    eventually(lambda: ["train"] in [each[:1] for each in programs.seen], "the training runs")
    before = [pod["metadata"]["uid"] for pod in replicas(api, deployed.namespace, "chief")]
    (killed,) = training()
    engine_of(started).kill()
    assert started.wait(30) == 1
    assert deployed.left_after(15) == {}

    programs.held = ""
    assert "flow-train-model-result: done again from there" in deployed.run("up")
    (found,) = training()
    assert found["metadata"]["uid"] == killed["metadata"]["uid"]
    assert found["status"].get("restarts", 0) == 0
    assert {pod["metadata"]["uid"] for pod in replicas(api, deployed.namespace, "chief")} >= set(before)
    assert [arguments[0] for arguments in programs.seen] == ["raw", "preprocess", "tune", "train"]
    assert deployed.outputs()["model_digest"] == "sha256:train"
