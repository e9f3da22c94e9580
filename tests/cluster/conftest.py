"""A real API server with the real JobSet controller and kwok's nodes, and projects that are deployed to it."""

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import custom_kinds
import pytest
import yaml
from cluster import nodes, provider
from cluster.control_plane import ControlPlane

from penstock.kubernetes import workspace as workspaces
from penstock.kubernetes.api import MERGE, Api, Object
from tests.conftest import Project, remove

HERE = Path(__file__).resolve().parent
ROLE, INDEX = "jobset.sigs.k8s.io/replicatedjob-name", "batch.kubernetes.io/job-completion-index"
PODS = "/api/v1/namespaces/{}/pods"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CLI = """
import sys, stack
own = stack.Pulumi(sys.argv[1])
own.select()
sys.exit(own.interactive(*sys.argv[2:]))
"""
JOB_SETS = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/{}/jobsets"


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The cluster; it dies with this process, however that ends."""
    begin = time.monotonic()
    made = ControlPlane(tmp_path_factory.mktemp("kubernetes") / "cluster", bound=True)
    made.start([*(nodes.cpu(index) for index in range(4)), *(nodes.gpu(index) for index in range(2))])
    print(f"cluster up after {time.monotonic() - begin:.0f} s", file=sys.stderr)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def api(plane: ControlPlane) -> Api:
    """The administrator's requests."""
    found = Api(str(plane.kubeconfig))
    storage = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "shared"}}
    # Volumes are made by hand below, as a cluster's provisioner would.
    storage |= {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "Immediate"}
    found.request("POST", "/apis/storage.k8s.io/v1/storageclasses", body=storage)
    return found


@pytest.fixture(scope="module")
def knowing(plane: ControlPlane, api: Api) -> Iterator[Api]:
    """The API server when it knows KEDA's, Kueue's and the Gateway API's kinds, which it forgets again."""
    found = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in custom_kinds.files()]
    made = [each for each in found if api.get(f"{DEFINITIONS}/{each['metadata']['name']}") is None]
    for each in made:
        api.request("POST", DEFINITIONS, body=each)
    fresh = Api(str(plane.kubeconfig))
    for each in made:
        version = next(version["name"] for version in each["spec"]["versions"] if version["served"])
        kind = (f"{each['spec']['group']}/{version}", each["spec"]["names"]["kind"])
        eventually(lambda kind=kind: fresh.kind(*kind), f"the kind {kind[1]}")
    yield fresh
    for each in made:
        path = f"{DEFINITIONS}/{each['metadata']['name']}"
        api.request("DELETE", path)
        eventually(lambda path=path: api.get(path) is None, "it is forgotten")


@pytest.fixture
def namespace(api: Api, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty namespace."""
    name = f"test-{abs(hash(request.node.nodeid)) % 10**8}"
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    api.request("POST", "/api/v1/namespaces", body=made)
    eventually(lambda: api.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"), "its service account")
    yield name
    api.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def workspace(api: Api, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace as a stack has it, restricted and with a quota."""
    name = f"jobs-{abs(hash(request.node.nodeid)) % 10**8}"
    args = workspaces.WorkspaceArgs("stack", name, storage_class="shared")
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}
    spec = {"capacity": {"storage": "50Gi"}, "accessModes": ["ReadWriteMany"], "hostPath": {"path": "/volume"}}
    spec |= {"storageClassName": "shared", "claimRef": {"namespace": name, "name": "artifacts"}}
    api.request("POST", "/api/v1/persistentvolumes", body={**volume, "spec": spec})
    api.request("POST", "/api/v1/namespaces", body=workspaces.namespace(args))
    for each in [*workspaces.objects(args).values(), workspaces.claim(args)]:
        kind = api.kind(each["apiVersion"], each["kind"])
        assert kind is not None
        api.request("POST", kind.collection(name), body=each)
    yield name
    api.request("DELETE", f"/api/v1/namespaces/{name}")
    api.request("DELETE", f"/api/v1/persistentvolumes/{name}")


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PATH with the plugin: the stand-in, or the real one where PENSTOCK_KUBERNETES_PLUGIN asks for it."""
    return with_plugin(tmp_path_factory.mktemp("plugins"))


def with_plugin(folder: Path) -> Path:
    """The folder, with the plugin in it; PENSTOCK_KUBERNETES_PLUGIN is `built`, or where it is."""
    plugin, real = folder / provider.NAME, os.environ.get("PENSTOCK_KUBERNETES_PLUGIN")
    if real:
        found = provider.binary() if real == "built" else shutil.which(real) or Path(real).resolve(strict=True)
        plugin.symlink_to(found)
        return folder
    plugin.write_text(f'#!/bin/sh\nPYTHONPATH="{HERE}" exec "{sys.executable}" -m kubernetes_plugin "$@"\n')
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    return folder


def eventually(look: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """What `look` finds, as soon as it finds anything."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)
    return found


def replicas(api: Api, namespace: str, role: str, index: int | None = None, **selector: str) -> list[Object]:
    """The pods of a role, or of one of its replicas, that are not being deleted."""
    wanted = {ROLE: role, **({INDEX: str(index)} if index is not None else {}), **selector}
    query = {"labelSelector": ",".join(f"{key}={value}" for key, value in wanted.items())}
    found = api.items(PODS.format(namespace), query)
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def end(api: Api, pod: Object, code: int, message: str = "") -> None:
    """Has a pod's program end with an exit code and last words, of which a kubelet keeps so much."""
    annotations = {"penstock.test/exit": str(code), "penstock.test/message": message[-4096:]}
    path = f"{PODS.format(pod['metadata']['namespace'])}/{pod['metadata']['name']}"
    api.request("PATCH", path, body={"metadata": {"annotations": annotations}}, content_type=MERGE)


class Programs:
    """Plays the trainer in a namespace: each chief that runs ends well, with a result made up from its arguments.

    Those of the stage `held` go on until it is another one.
    """

    model = "sha256:train"
    """Digest of what a training makes."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.seen: list[list[str]] = []
        self.held = ""
        self._api, self._namespace = api, namespace
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Plays no more."""
        self._over.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._over.wait(0.3):
            for pod in replicas(self._api, self._namespace, "chief"):
                if pod["status"].get("phase") == "Running":
                    self._end(pod)

    def _end(self, pod: Object) -> None:
        arguments = pod["spec"]["containers"][0]["args"]
        if arguments not in self.seen:
            self.seen.append(arguments)
        stage = arguments[0]
        if stage == self.held:
            return
        result = {
            "kind": stage,
            "path": f"/artifacts/{stage}/key",
            "digest": self.model if stage == "train" else f"sha256:{stage}",
            "counts": {"rows": 6000},
            "metrics": {"test": {"auc": 0.75}},
        }
        end(self._api, pod, 0, json.dumps(result))


class ClusterProject(Project):
    """A project whose stack is on the cluster."""

    def __init__(self, root: Path, plane: ControlPlane, plugins: Path, stack: str) -> None:
        self._plane, self._plugins = plane, plugins
        self.namespace = f"penstock-{stack}"
        super().__init__(root, stack)

    def configure(self, **settings: Any) -> None:
        """Platform and cluster, and what the test changes of them under `cluster`."""
        cluster = {
            "kubeconfig": str(self._plane.kubeconfig),
            "trainer_image": image("trainer"),
            "serving_image": image("serving"),
            "storage_class": "shared",
            "timeout_minutes": 3,
            **settings.pop("cluster", {}),
        }
        super().configure(**{"platform": "cluster", "keep": [], "cluster": cluster, **settings})

    def hide(self, path: str, value: str) -> None:
        """Adds a secret to the configuration as a person does; it is in effect until the next `configure`."""
        self._cli("config", "set", "--secret", "--path", f"penstock:{path}", value)

    def preview(self, expected: int = 0) -> str:
        """Runs `pulumi preview`; what a person would have seen."""
        return self._cli("preview", expected=expected)

    def apply(self, expected: int = 0) -> str:
        """Runs `pulumi up` by hand, which plans once and asks no policy; what a person would have seen."""
        return self._cli("up", "--yes", "--skip-preview", expected=expected)

    def _cli(self, *arguments: str, expected: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-c", CLI, self.stack, *arguments],
            cwd=self.root,
            env={**self.environment(), "PYTHONPATH": str(self.root / "tools")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == expected, f"exit code {done.returncode}\n{said}"
        assert "Traceback" not in said
        return said

    def environment(self) -> dict[str, str]:
        """With the plugin on PATH."""
        found = super().environment()
        return {**found, "PATH": f"{self._plugins}{os.pathsep}{found['PATH']}", "KUBECONFIG": ""}


def image(name: str) -> str:
    """The name of an image, by digest."""
    return f"registry.test/{name}@sha256:{'0' * 64}"


@pytest.fixture
def volume(api: Api) -> Iterator[Callable[[str, Object], None]]:
    """Makes a volume of a name for the claim that is to find it."""
    made: list[str] = []

    def make(name: str, claim: Object) -> None:
        api.request("POST", "/api/v1/persistentvolumes", body=volume_for(name, claim, "/volume"))
        made.append(name)

    yield make
    for name in made:
        api.request("DELETE", f"/api/v1/persistentvolumes/{name}")


def volume_for(name: str, claim: Object, folder: str) -> Object:
    """A PersistentVolume that is a folder of the node, for one claim."""
    source = {"hostPath": {"path": folder}, "storageClassName": "shared", "persistentVolumeReclaimPolicy": "Retain"}
    spec = {"capacity": {"storage": "50Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"], **source}
    metadata = {"name": name}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": metadata,
        "spec": {**spec, "claimRef": claim},
    }


@pytest.fixture
def deployed(
    tmp_path: Path,
    plane: ControlPlane,
    volume: Callable[[str, Object], None],
    plugins: Path,
    request: pytest.FixtureRequest,
) -> Iterator[ClusterProject]:
    """A project with a stack of its own, and a volume for its claim; what it made is taken down at the end."""
    stack = f"s{abs(hash(request.node.nodeid)) % 10**6}"
    volume(f"volume-{stack}", {"namespace": f"penstock-{stack}", "name": "artifacts"})
    made = ClusterProject(tmp_path, plane, plugins, stack)
    yield made
    remove(made)


@pytest.fixture
def programs(api: Api, deployed: ClusterProject) -> Iterator[Programs]:
    """The trainer, played in the project's namespace."""
    playing = Programs(api, deployed.namespace)
    yield playing
    playing.stop()
