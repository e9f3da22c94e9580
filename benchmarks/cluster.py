"""How long a training job's pods take to get their nodes, on a real control plane with kwok's made-up GPU nodes.

    .venv/bin/python benchmarks/cluster.py [--nodes 1000]        (`make bench-cluster`)

A JobSet as the modules render it: one chief, 32 parameter servers and 10, 100, then 1,000 workers with a GPU node each.
Time runs from the request that makes the JobSet to the last pod's node; memory is what all processes of the cluster
hold resident then. No pod runs anything.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from _report import report
from cluster import nodes
from cluster.control_plane import ControlPlane

from penstock import Job, Program, Role
from penstock.kubernetes import Machine
from penstock.kubernetes import workspace as workspaces
from penstock.kubernetes.api import Api, Object
from penstock.kubernetes.job_set import JobSetArgs, job_set

SERVERS = 32
SIZES = (10, 100, 1000)
NAMESPACE = "scale"
GPUS = 8
PATIENCE_SECONDS = 600.0


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000, help="GPU nodes, and most workers (default: 1000)")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plane = ControlPlane(Path(folder) / "cluster", bound=True)
        begin = time.monotonic()
        plain = [nodes.cpu(index) for index in range(8)]
        plane.start([*plain, *(nodes.gpu(index, count=GPUS) for index in range(wanted.nodes))])
        report("cluster", f"seconds_to_{wanted.nodes}_ready_nodes", time.monotonic() - begin, "s")
        try:
            api = Api(str(plane.kubeconfig))
            prepare(api)
            for workers in sorted({min(size, wanted.nodes) for size in SIZES}):
                measure(api, plane, workers)
        finally:
            plane.stop()


def prepare(api: Api) -> None:
    """A namespace as a stack has it, and a volume for its claim."""
    args = workspaces.WorkspaceArgs("bench", NAMESPACE, storage_class="shared")
    storage = {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "Immediate"}
    volume = {
        "capacity": {"storage": "50Gi"},
        "accessModes": ["ReadWriteMany"],
        "hostPath": {"path": "/volume"},
        "storageClassName": "shared",
    }
    make(api, {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "shared"}, **storage})
    make(api, {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "volume"}, "spec": volume})
    for each in [workspaces.namespace(args), *workspaces.objects(args).values(), workspaces.claim(args)]:
        make(api, each)


def measure(api: Api, plane: ControlPlane, workers: int) -> None:
    """One job of that many workers, from its request to its last pod's node, and then away with it."""
    roles = {
        "chief": Role(["train"]),
        "ps": Role(["train"], replicas=SERVERS, restarts=3),
        "worker": Role(["train"], replicas=workers, restarts=3),
    }
    machines = {"worker": Machine(accelerators=GPUS)}
    args = JobSetArgs("bench", {Program.TRAINER: f"registry.test/trainer@sha256:{'0' * 64}"}, "artifacts", machines)
    manifest = job_set("train", Job(Program.TRAINER, roles), {role: ["train"] for role in roles}, {}, args)
    pods = 1 + SERVERS + workers
    begin = time.monotonic()
    make(api, manifest)
    placed: list[Object] = []
    while len(placed) < pods:
        if time.monotonic() - begin > PATIENCE_SECONDS:
            sys.exit(f"error: {len(placed)} of {pods} pods had a node after {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.5)
        placed = [pod for pod in api.items(f"/api/v1/namespaces/{NAMESPACE}/pods") if pod["spec"].get("nodeName")]
    seconds = time.monotonic() - begin
    apart = {pod["spec"]["nodeName"] for pod in placed if pod["spec"]["nodeName"].startswith("gpu-")}
    if len(apart) != workers:
        sys.exit(f"error: {workers} workers that need a whole node each are on {len(apart)} nodes")
    resident = sum(psutil.Process(pid).memory_info().rss for pid in plane.processes.pids().values())
    report("cluster", f"replicas_scheduled_{workers}_workers", len(placed), "pods")
    report("cluster", f"seconds_to_all_scheduled_{workers}_workers", seconds, "s")
    report("cluster", f"control_plane_memory_{workers}_workers", resident / 2**20, "MiB")
    name = manifest["metadata"]["name"]
    path = f"/apis/jobset.x-k8s.io/v1alpha2/namespaces/{NAMESPACE}/jobsets/{name}"
    api.request("DELETE", path, body={"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"})
    while api.items(f"/api/v1/namespaces/{NAMESPACE}/pods"):
        time.sleep(0.5)


def make(api: Api, manifest: Object) -> None:
    """Makes an object."""
    kind = api.kind(manifest["apiVersion"], manifest["kind"])
    if kind is None:
        sys.exit(f"error: the cluster does not know the kind {manifest['kind']}")
    api.request("POST", kind.collection(NAMESPACE), body=manifest)


if __name__ == "__main__":
    main()
