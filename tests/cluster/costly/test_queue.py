"""Kueue's real controller holds a training that is over its quota; the programs are played, on made-up nodes."""

import dataclasses
import sys
import time

import pytest
from cluster import kueue, nodes

from penstock import Job, Program, Role
from penstock.kubernetes import Machine, verdict
from penstock.kubernetes.api import ClusterError
from penstock.kubernetes.job_set import JobSetArgs, job_set
from penstock.kubernetes.preflight import Needs, check
from tests.cluster.conftest import JOB_SETS, eventually, image, replicas

JOBS = "/apis/batch/v1/namespaces/default/jobs"
POOL = "cloud.google.com/gke-nodepool"
TPU = "google.com/tpu"
HOSTS = 8
"""Of a slice."""
QUOTA = {"cpu": "8", "memory": "1Ti", "ephemeral-storage": "1Ti"}
"""As many processors as the training below takes, and no more."""


@pytest.fixture(scope="module")
def queue(plane, api):
    """The name of a ClusterQueue, which a queue of the namespace `default` draws on as well."""
    begin = time.monotonic()
    kueue.install(plane)
    print(f"Kueue answers after {time.monotonic() - begin:.0f} s", file=sys.stderr)
    flavor = {"name": "pool", "resources": [{"name": name, "nominalQuota": most} for name, most in QUOTA.items()]}
    groups = [{"coveredResources": list(QUOTA), "flavors": [flavor]}]
    plane.apply(
        [
            kueue.described("ResourceFlavor", "pool"),
            kueue.described("ClusterQueue", "research", namespaceSelector={}, resourceGroups=groups),
            kueue.described("LocalQueue", "others", "default", clusterQueue="research"),
        ]
    )
    return "research"


@pytest.fixture
def slices(plane, api, queue, workspace):
    """A LocalQueue and its ClusterQueue of two slices of TPUs, of which one lacks a host."""
    hosts = [nodes.tpu(index, HOSTS) for index in range(2 * HOSTS - 1)]
    # More than there is, so that it is not the quota that holds a job back.
    quota = {**dict.fromkeys(QUOTA, "1Ti"), TPU: str(4 * 2 * HOSTS)}
    plane.apply([*hosts, *kueue.placing("slices", workspace, POOL, quota)])
    yield "slices"
    for each in hosts:
        api.request("DELETE", f"/api/v1/nodes/{each['metadata']['name']}")


def taken(api, cpus):
    """A job of somebody else's that takes processors of the quota until it is deleted; its path."""
    requests = {"cpu": str(cpus), "memory": "1Gi", "ephemeral-storage": "1Gi"}
    container = {"name": "other", "image": "registry.test/other:1", "resources": {"requests": requests}}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    metadata = {"name": "other", "labels": {"kueue.x-k8s.io/queue-name": "others"}}
    spec = {"suspend": True, "template": template}
    api.request("POST", JOBS, body={"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
    path = f"{JOBS}/other"
    eventually(lambda: api.get(path)["status"].get("active"), "the other job runs")
    return path


def test_a_training_over_quota_waits_and_says_for_what_and_starts_by_itself(deployed, programs, api, queue):
    def configure(minutes):
        machines = {"worker": {"cpus": 3}, "chief": {"cpus": 1}, "ps": {"cpus": 1}}
        settings = {"queue": queue, "machines": machines, "timeout_minutes": minutes}
        deployed.configure(parameter_servers=1, workers=2, cluster=settings)

    def training():
        found = api.items(JOB_SETS.format(deployed.namespace))
        return [each for each in found if each["metadata"]["labels"]["penstock.dev/workload"] == "flow-train-model"]

    other = taken(api, 2)
    configure(0.5)
    told = deployed.run("up", expected=1)
    assert "flow-train-model-result was not done after 30 seconds: pods: none; held by its queue" in told
    assert "insufficient unused quota for cpu in flavor pool, 2 more needed" in told
    assert [arguments[0] for arguments in programs.seen] == ["raw", "preprocess", "tune"]
    held = training()[0]
    assert held["spec"]["suspend"] is True

    configure(3)
    started = deployed.start("up")
    deployed.wait_for("flow-train-model-result", started)
    api.request("DELETE", other, body={"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"})
    begin = time.monotonic()
    eventually(lambda: training()[0]["spec"]["suspend"] is False, "the quota is free and the training starts")
    print(f"started {time.monotonic() - begin:.1f} s after the quota was free", file=sys.stderr)
    assert started.wait(180) == 0, deployed.output()
    assert training()[0]["metadata"]["uid"] == held["metadata"]["uid"], "the one that waited"
    assert deployed.outputs()["model_digest"] == "sha256:train"


def test_a_queue_that_is_not_there_is_refused_with_those_that_are(deployed, queue):
    deployed.configure(cluster={"queue": "reserch"})
    told = deployed.run("up", expected=1)
    assert "it has no ClusterQueue 'reserch', which `queue` names; it has: research" in told


def test_slices_are_taken_whole_or_not_at_all(api, slices, workspace):
    roles = {"chief": Role(["train"]), "worker": Role(["train"], HOSTS)}
    machines = {"worker": Machine(accelerator=TPU, accelerators=4)}
    placed = {"queue": slices, "exclusive_topology": POOL}
    args = JobSetArgs("stack", {Program.TRAINER: image("trainer")}, "artifacts", machines, **placed)

    def made(name):
        manifest = job_set(name, Job(Program.TRAINER, roles), {role: [name] for role in roles}, {}, args)
        api.request("POST", JOB_SETS.format(workspace), body=manifest)
        return manifest["metadata"]["name"]

    def workers(name):
        pods = replicas(api, workspace, "worker", **{"jobset.sigs.k8s.io/jobset-name": name})
        return [pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")]

    first = made("first")
    eventually(lambda: len(workers(first)) == HOSTS, "the first job has its slice")
    pools = {api.get(f"/api/v1/nodes/{node}")["metadata"]["labels"][POOL] for node in workers(first)}
    assert pools == {"tpu-0"}, "the one that has all of its hosts"

    second = made("second")

    def waits_for():
        return verdict.waiting(api, workspace, api.get(f"{JOB_SETS.format(workspace)}/{second}"), [])

    eventually(lambda: "held by its queue: " in waits_for(), "Kueue has judged it")
    assert 'topology "slices" allows to fit only 7 out of 8 pod(s)' in waits_for()
    assert verdict.pods(api, workspace, second) == []

    deletion = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
    api.request("DELETE", f"{JOB_SETS.format(workspace)}/{first}", body=deletion)
    eventually(lambda: len(workers(second)) == HOSTS, "the second has the slice that is free")


def test_a_queue_that_cannot_place_by_a_label_is_refused_with_those_that_it_can(api, slices, workspace):
    def refused(queue, topology):
        asked = Needs(stack="stack", namespace=workspace, storage_class="shared", queue=queue)
        with pytest.raises(ClusterError) as told:
            check(api, dataclasses.replace(asked, exclusive_topology=topology))
        return str(told.value)

    check(api, Needs("stack", workspace, storage_class="shared", queue=slices, exclusive_topology=POOL))
    told = refused(slices, "rack")
    assert "no flavor of ClusterQueue 'slices' has a topology with the level rack" in told
    assert f"their levels: {POOL}, kubernetes.io/hostname" in told
    assert "their levels: none" in refused("research", POOL)
