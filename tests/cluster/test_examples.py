"""The example for a cluster, deployed by the real engine to a real API server; the trainer is played."""

import json
import os
import shutil
import subprocess

import pytest

from tests.cluster.conftest import Programs, image
from tests.conftest import CHECKOUT

NAMESPACE = "tuning-example"


@pytest.fixture
def run(tmp_path, plane, api, plugins):
    """Runs the CLI in a project with the example; the namespace's claim finds a volume."""
    folder = tmp_path / "tune_on_cluster"
    shutil.copytree(CHECKOUT / "examples/tune_on_cluster", folder)
    (folder / ".venv").symlink_to(CHECKOUT / ".venv")
    (folder / "state").mkdir()
    path = os.pathsep.join([str(plugins), str(CHECKOUT / ".tools/pulumi/bin"), os.environ["PATH"]])
    own = {"PATH": path, "PULUMI_HOME": str(folder / "home"), "PULUMI_BACKEND_URL": f"file://{folder / 'state'}"}
    own |= {"PULUMI_CONFIG_PASSPHRASE": "example", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"}
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": NAMESPACE}}
    spec = {"capacity": {"storage": "50Gi"}, "accessModes": ["ReadWriteMany"], "hostPath": {"path": "/volume"}}
    spec |= {"storageClassName": "shared", "claimRef": {"namespace": NAMESPACE, "name": "artifacts"}}
    api.request("POST", "/api/v1/persistentvolumes", body={**volume, "spec": spec})

    def pulumi(*arguments):
        command = ["pulumi", *arguments, "--non-interactive"]
        environment = {**os.environ, **own}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    pulumi("stack", "init", "dev")
    yield pulumi
    pulumi("destroy", "--yes", "--skip-preview")
    api.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
    api.request("DELETE", f"/api/v1/persistentvolumes/{NAMESPACE}")


def test_four_processes_of_one_study_run_on_the_cluster_and_the_best_value_is_the_output(run, plane, api):
    settings = {"kubeconfig": str(plane.kubeconfig), "namespace": NAMESPACE, "storage_class": "shared"}
    settings |= {"trainer_image": image("trainer"), "serving_image": image("serving")}
    for key, value in settings.items():
        run("config", "set", key, value)
    run("config", "set", "--path", "dataset.path", "/artifacts/dataset/key")
    run("config", "set", "--path", "dataset.digest", "sha256:dataset")
    programs = Programs(api, NAMESPACE)
    run("up", "--yes", "--skip-preview")
    programs.stop()
    assert json.loads(run("stack", "output", "--json"))["best"] == {"test": {"auc": 0.75}}
    (arguments,) = programs.seen
    assert arguments[0] == "tune"
    assert arguments[arguments.index("--dataset") + 1] == "/artifacts/dataset/key"
    (job,) = api.items(f"/apis/jobset.x-k8s.io/v1alpha2/namespaces/{NAMESPACE}/jobsets")
    roles = {each["name"]: each["template"]["spec"] for each in job["spec"]["replicatedJobs"]}
    assert {name: spec["completions"] for name, spec in roles.items()} == {"chief": 1, "trial": 3}
    container = roles["trial"]["template"]["spec"]["containers"][0]
    assert container["resources"]["requests"]["cpu"] == "4"
