"""A cluster of real nodes, whose pods are real processes, and stacks that are deployed to it.

A container sees the machine's interpreter and the checkout's environments; with PENSTOCK_IMAGES=built nothing but what
the images hold, which are built from the Dockerfiles.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import build
from cluster.control_plane import ControlPlane
from cluster.kubelets import missing

from penstock.kubernetes.api import Api
from penstock.kubernetes.pods import STORE, USER
from tests.cluster.conftest import PODS, ClusterProject, api, eventually, plugins, volume_for
from tests.conftest import remove

__all__ = ["api", "plugins"]  # fixtures
NODES = 2
ROLES = ("chief", "ps", "worker", "trial", "server")
WATCHED: dict[str, Any] = {
    "monitoring": {"window_seconds": 2, "minimum_rows": 50, "windows_in_a_row": 1},
    "cluster": {"skew_schedule": "0 0 1 1 *"},
}
"""What arrives is judged in no test's time, but when a test has the monitor's Job run."""
SMALL = {"cpus": 0.1, "memory_gib": 2}
"""Limits of processors are not enforced on these nodes, so a small request is no slow pod."""


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The cluster; it dies with this process, however that ends."""
    if why := missing():
        pytest.skip(why)
    begin = time.monotonic()
    made = ControlPlane(tmp_path_factory.mktemp("kubernetes") / "cluster", bound=True)
    made.start([], kubelets=NODES, furnished=os.environ.get("PENSTOCK_IMAGES") == "built")
    print(f"cluster of {NODES} real nodes up after {time.monotonic() - begin:.0f} s", file=sys.stderr)
    yield made
    made.stop()


class PodsProject(ClusterProject):
    """A project whose stack is on the cluster, with a folder of the machine as its volume on every node."""

    def __init__(self, root: Path, plane: ControlPlane, plugins: Path, stack: str) -> None:
        assert plane.kubelets is not None
        self.images = plane.kubelets.images()
        self.volume = plane.folder / "volumes" / stack
        for command in (["genpkey", "-algorithm", "ed25519"], ["pkey", "-in", "signing.pem", "-pubout"]):
            out = "verifying.pem" if "-pubout" in command else "signing.pem"
            subprocess.run(["openssl", *command, "-out", out], cwd=root, check=True)
        super().__init__(root, plane, plugins, stack)

    def configure(self, **settings: Any) -> None:
        """With the images that the nodes have, and requests that two processors can meet."""
        cluster = {
            "trainer_image": self.images["trainer"],
            "serving_image": self.images["serving"],
            "machines": dict.fromkeys(ROLES, SMALL),
            "timeout_minutes": 6,
            **settings.pop("cluster", {}),
        }
        signed = {"sign_key": "signing.pem", "verify_key": "verifying.pem"}
        super().configure(**{"parameter_servers": 2, "workers": 2, **signed, **settings, "cluster": cluster})

    def environment(self) -> dict[str, str]:
        """With the cluster's own kubectl on PATH, for the command, and a wide terminal."""
        found = super().environment()
        return {**found, "PATH": f"{build.prepare().kubernetes}{os.pathsep}{found['PATH']}", "COLUMNS": "200"}

    def model(self) -> Path:
        """The folder of the model that was made last."""
        made = self.deployment()["flow-train-model-result"]["outputs"]
        return self.volume / Path(made["path"]).relative_to(STORE)


def made(root: Path, plane: ControlPlane, api: Api, plugins: Path, stack: str) -> PodsProject:
    """A project, and the volume that its claim will find."""
    project = PodsProject(root, plane, plugins, stack)
    volume(api, f"volume-{stack}", project.volume, {"namespace": project.namespace, "name": "artifacts"})
    return project


def volume(api: Api, name: str, folder: Path, claim: dict[str, str]) -> None:
    """A folder of the machine as the volume that a claim will find."""
    folder.mkdir(parents=True)
    os.chown(folder, USER, USER)
    api.request("POST", "/api/v1/persistentvolumes", body=volume_for(name, claim, str(folder)))


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, plane: ControlPlane, api: Api, plugins: Path
) -> Iterator[PodsProject]:
    """A stack after `up`: raw files, dataset, study and model were made by pods, and a pod serves the model."""
    project = made(tmp_path_factory.mktemp("served"), plane, api, plugins, "served")
    project.configure(**WATCHED)
    begin = time.monotonic()
    project.run("up", timeout=900)
    print(f"first up: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    yield project
    remove(project)


# Policies know a new pod a moment after it runs; until then it is refused.
ASKED = """
import json, sys, time, urllib.error, urllib.request
url, rows = sys.argv[1:]
deadline = time.monotonic() + 30
def get(path, body=None):
    while True:
        try:
            with urllib.request.urlopen(url + path, body, timeout=10) as answer:
                return json.load(answer), answer.headers["x-model-digest"]
        except urllib.error.URLError as exc:
            if isinstance(exc, urllib.error.HTTPError) or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
answered, model = get(":predict", rows.encode())
said = {"predictions": answered["predictions"], "model": model, "digest": get("/attestation")[0]["digest"]}
open("/dev/termination-log", "w").write(json.dumps(said))
"""


def ask(api: Api, project: PodsProject, url: str, rows: list[Any]) -> dict[str, Any]:
    """What a pod of another namespace is answered by a model's endpoint, which it knows by name only."""
    arguments = [url, json.dumps({"instances": rows})]
    image = project.images["trainer"]
    container = {"name": "ask", "image": image, "command": ["python", "-c", ASKED, *arguments]}
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    eventually(lambda: api.get("/api/v1/namespaces/default/serviceaccounts/default"), "an account for the client")
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "ask-"}, "spec": spec}
    name = api.request("POST", PODS.format("default"), body=body)["metadata"]["name"]
    return json.loads(ended(api, f"{PODS.format('default')}/{name}"))


def ended(api: Api, path: str) -> str:
    """What a pod of one container left in its termination message, once it has ended well."""

    def terminated() -> Any:
        pod = api.get(path)
        assert pod is not None
        states = pod["status"].get("containerStatuses", [])
        return states[0]["state"].get("terminated") if states else None

    found = eventually(terminated, "the end of a pod", 150)
    assert found["exitCode"] == 0, found
    return found["message"]
