"""Kueue's real controller holds a training that is over its quota; the programs are played, on made-up nodes."""

import sys
import time

import pytest
from cluster import kueue

from tests.cluster.conftest import JOB_SETS, eventually

GROUP = "/apis/kueue.x-k8s.io/v1beta1"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
QUOTA = {"cpu": "8", "memory": "1Ti", "ephemeral-storage": "1Ti"}
"""As many processors as the training below takes, and no more."""


@pytest.fixture(scope="module")
def queue(plane, api):
    """The name of a ClusterQueue, which a queue of the namespace `default` draws on as well."""
    begin = time.monotonic()
    kueue.install(plane)
    print(f"Kueue answers after {time.monotonic() - begin:.0f} s", file=sys.stderr)
    version = GROUP.removeprefix("/apis/")
    flavor = {"name": "pool", "resources": [{"name": name, "nominalQuota": most} for name, most in QUOTA.items()]}
    groups = [{"coveredResources": list(QUOTA), "flavors": [flavor]}]
    described = {
        "ResourceFlavor": ("pool", {}, {}),
        "ClusterQueue": ("research", {}, {"namespaceSelector": {}, "resourceGroups": groups}),
        "LocalQueue": ("others", {"namespace": "default"}, {"clusterQueue": "research"}),
    }
    plane.apply(
        [
            {"apiVersion": version, "kind": kind, "metadata": {"name": name, **place}, "spec": spec}
            for kind, (name, place, spec) in described.items()
        ]
    )
    return "research"


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
