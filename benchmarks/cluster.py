"""How long a training job's pods take to get their nodes, on a real control plane with kwok's made-up GPU nodes.

    .venv/bin/python benchmarks/cluster.py [--nodes 1000]        (`make bench-cluster`)

A JobSet as the modules render it: one chief, 32 parameter servers and 10, 100, then 1,000 workers with a GPU node each.
Time runs from the request that makes the JobSet to the last pod's node; memory is what all processes of the cluster
hold resident then, and requests are those that the API server was asked by everybody meanwhile. No pod runs anything.

Then `up` of the whole stack, with the training changed to that many workers: its seconds, the API server's requests
(those by everybody, and by the API server's audit log those of whoever deploys, which are the modules' and the
plugin's), and the objects that these wrote. Its chief ends as soon as it runs. At last slices of TPUs: two jobs of 8
hosts, where one slice has 8 and another 7, placed by JobSet alone and from a queue of Kueue's. First of all, and apart,
what `make cluster-up` takes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from _report import report
from cluster import kubelets, kueue, nodes
from cluster.control_plane import ControlPlane

from penstock import Job, Program, Role
from penstock.kubernetes import Machine
from penstock.kubernetes import workspace as workspaces
from penstock.kubernetes.api import Api, Object
from penstock.kubernetes.job_set import JobSetArgs, job_set
from tests.cluster.conftest import ClusterProject, Programs, with_plugin
from tests.conftest import remove

SERVERS = 32
SIZES = (10, 100, 1000)
NAMESPACE = "scale"
GPUS = 8
HOSTS = 8
"""Of a slice of TPUs."""
TPU = "google.com/tpu"
POOL = "cloud.google.com/gke-nodepool"
PATIENCE_SECONDS = 600.0
SETTLED_SECONDS = 10.0
DEPLOYER = "deployer"
WRITING = ("create", "update", "patch", "delete")
CHECKOUT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000, help="GPU nodes, and most workers (default: 1000)")
    wanted = parser.parse_args()
    start_and_end("kwok", *([] if kubelets.missing() else ["kubelet"]))
    with tempfile.TemporaryDirectory() as folder:
        plane = ControlPlane(Path(folder) / "cluster", bound=True, audited=DEPLOYER)
        begin = time.monotonic()
        plain = [nodes.cpu(index) for index in range(8)]
        slices = [nodes.tpu(index, HOSTS) for index in range(2 * HOSTS - 1)]
        plane.start([*plain, *slices, *(nodes.gpu(index, count=GPUS) for index in range(wanted.nodes))])
        report("cluster", f"seconds_to_{wanted.nodes}_ready_nodes", time.monotonic() - begin, "s")
        try:
            api = Api(str(plane.kubeconfig))
            prepare(api)
            sizes = sorted({min(size, wanted.nodes) for size in SIZES})
            for workers in sizes:
                measure(api, plane, workers)
            deploy(api, plane, Path(folder), sizes)
            fill_slices(api, plane)
        finally:
            plane.stop()


def start_and_end(*kinds: str) -> None:
    """`make cluster-up` and `make cluster-down`, with nodes of each kind."""
    for nodes_ in kinds:
        with tempfile.TemporaryDirectory() as home:
            environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "tools"), "PENSTOCK_HOME": home}
            for what in (["up", nodes_], ["down"]):
                begin = time.monotonic()
                command = [sys.executable, "-m", "cluster", *what]
                subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
                report("cluster", f"cluster_{what[0]}_seconds_{nodes_}", time.monotonic() - begin, "s")


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
    before, begin = requests(api), time.monotonic()
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
    report("cluster", f"api_requests_{workers}_workers", requests(api) - before, "requests")
    report("cluster", f"control_plane_memory_{workers}_workers", resident / 2**20, "MiB")
    away(api, manifest["metadata"]["name"])


def away(api: Api, *names: str) -> None:
    """Deletes JobSets and waits until no pod is left."""
    deletion = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
    for name in names:
        path = f"/apis/jobset.x-k8s.io/v1alpha2/namespaces/{NAMESPACE}/jobsets/{name}"
        api.request("DELETE", path, body=deletion)
    while api.items(f"/api/v1/namespaces/{NAMESPACE}/pods"):
        time.sleep(0.5)


def requests(api: Api) -> float:
    """What the API server has been asked so far, by everybody."""
    lines = api.request("GET", "/metrics")["text"].splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("apiserver_request_total{"))


def deploy(api: Api, plane: ControlPlane, folder: Path, sizes: list[int]) -> None:
    """`up` of a stack, then of the same with more and more workers."""
    stack, root = "bench", folder / "project"
    root.mkdir()
    (folder / "plugins").mkdir()
    project = ClusterProject(root, plane, with_plugin(folder / "plugins"), stack)
    source = {"hostPath": {"path": "/volume"}, "storageClassName": "shared"}
    source |= {"claimRef": {"namespace": project.namespace, "name": "artifacts"}}
    spec = {"capacity": {"storage": "50Gi"}, "accessModes": ["ReadWriteMany"], **source}
    make(api, {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "volume-bench"}, "spec": spec})
    programs = Programs(api, project.namespace)
    plane.authority.sign(DEPLOYER, DEPLOYER, ("system:masters",))
    known = {"kubeconfig": str(plane.authority.kubeconfig(DEPLOYER, plane.server))}
    try:
        for workers in sizes:
            machines = {"worker": {"accelerators": GPUS}}
            project.configure(parameter_servers=SERVERS, workers=workers, cluster={"machines": machines, **known})
            before, begin = requests(api), time.monotonic()
            earlier = len(plane.asked())
            project.run("up", timeout=PATIENCE_SECONDS)
            what = "first" if workers == sizes[0] else "changed"
            report("cluster", f"up_seconds_{what}_{workers}_workers", time.monotonic() - begin, "s")
            report("cluster", f"up_api_requests_{what}_{workers}_workers", requests(api) - before, "requests")
            own = plane.asked()[earlier:]
            report("cluster", f"up_own_api_requests_{what}_{workers}_workers", len(own), "requests")
            report("cluster", f"up_objects_written_{what}_{workers}_workers", len(written(own)), "objects")
            made = [each for each in project.deployment().values() if each["type"].startswith("kubernetes:")]
            report("cluster", f"objects_in_the_stack_{workers}_workers", len(made), "objects")
        begin, earlier = time.monotonic(), len(plane.asked())
        project.run("up", timeout=PATIENCE_SECONDS)
        report("cluster", "up_seconds_unchanged", time.monotonic() - begin, "s")
        own = plane.asked()[earlier:]
        report("cluster", "up_own_api_requests_unchanged", len(own), "requests")
        report("cluster", "up_objects_written_unchanged", len(written(own)), "objects")
    finally:
        remove(project)
        programs.stop()


def written(asked: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """The objects that requests wrote: none that a preview tried, and no questions about rights."""
    return {
        (ref["resource"], ref.get("namespace", ""), ref.get("name", each["requestURI"]))
        for each in asked
        if each["verb"] in WRITING
        and "dryRun=All" not in each["requestURI"]
        and (ref := each["objectRef"])["resource"] != "selfsubjectaccessreviews"
    }


def fill_slices(api: Api, plane: ControlPlane) -> None:
    """Two jobs that take a slice each, of which one lacks a host: as JobSet alone places them, then as a queue does."""
    for queue in ("", "slices"):
        if queue:
            kueue.install(plane)
            # The quota holds nothing back.
            quota = {"cpu": "1Ti", "memory": "1Ti", "ephemeral-storage": "1Pi", TPU: str(4 * 2 * HOSTS)}
            plane.apply(kueue.placing(queue, NAMESPACE, POOL, quota))
        placed = {"queue": queue, "exclusive_topology": POOL}
        machine = Machine(accelerator=TPU, accelerators=4)
        images = {Program.TRAINER: f"registry.test/trainer@sha256:{'0' * 64}"}
        args = JobSetArgs("bench", images, "artifacts", {"chief": machine}, **placed)
        names: list[str] = []
        for which in ("first", "second"):
            manifest = job_set(which, Job(Program.TRAINER, {"chief": Role([], HOSTS)}), {"chief": [which]}, {}, args)
            names.append(manifest["metadata"]["name"])
            make(api, manifest)
            how = "from_a_queue" if queue else "by_jobset_alone"
            metric = f"pods_placed_of_{HOSTS}_{which}_slice_{how}"
            report("cluster", metric, len(settled(api, names[-1])), "pods")
        away(api, *names)


def settled(api: Api, name: str) -> list[Object]:
    """The pods of a JobSet that have nodes, once that has not changed for a while."""
    query = {"labelSelector": f"jobset.sigs.k8s.io/jobset-name={name}"}
    last: list[Object] = []
    changed = begin = time.monotonic()
    while time.monotonic() - changed < SETTLED_SECONDS and time.monotonic() - begin < PATIENCE_SECONDS:
        time.sleep(0.5)
        pods = api.items(f"/api/v1/namespaces/{NAMESPACE}/pods", query)
        now = [pod for pod in pods if pod["spec"].get("nodeName")]
        if len(now) != len(last):
            last, changed = now, time.monotonic()
    return last


def make(api: Api, manifest: Object) -> None:
    """Makes an object."""
    kind = api.kind(manifest["apiVersion"], manifest["kind"])
    if kind is None:
        sys.exit(f"error: the cluster does not know the kind {manifest['kind']}")
    api.request("POST", kind.collection(NAMESPACE), body=manifest)


if __name__ == "__main__":
    main()
