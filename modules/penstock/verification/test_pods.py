# pyright: basic
"""An endpoint's pods, as the cluster's API server tells of them."""

import pytest

from penstock.command.state import JOB_RESULT
from penstock.kubernetes.verdict import JOB_SET


@pytest.fixture(scope="module")
def listed(target):
    """The objects of a kind in the stack's namespace."""

    def objects(path):
        group, _, plural = path.rpartition("/")
        return target.api.items(f"{group}/namespaces/{target.namespace}/{plural}")

    return objects


def test_as_many_pods_are_ready_as_the_range_says(target):
    assert target.lowest <= len(target.hosts) <= target.highest


def test_what_scales_the_pods_has_the_range_that_the_stack_says(target, listed):
    scalers = [each["spec"] for each in listed("/apis/autoscaling/v2/horizontalpodautoscalers")]
    own = [each for each in scalers if each["scaleTargetRef"]["name"] == target.workload]
    # KEDA scales by one of its own, also between none and one.
    assert len(own) == (1 if target.scaled else 0)
    for each in own:
        assert (each["minReplicas"], each["maxReplicas"]) == (max(1, target.lowest), target.highest)


def test_nothing_of_the_namespace_is_reached_from_outside_the_cluster(listed):
    public = [each["metadata"]["name"] for each in listed("/api/v1/services") if each["spec"]["type"] != "ClusterIP"]
    assert public == []
    assert [each["metadata"]["name"] for each in listed("/apis/networking.k8s.io/v1/ingresses")] == []


def test_the_endpoint_is_reached_on_its_port_only(target, listed):
    policies = [
        each["spec"]
        for each in listed("/apis/networking.k8s.io/v1/networkpolicies")
        if target.workload in each["spec"]["podSelector"].get("matchLabels", {}).values()
    ]
    assert policies
    opened = {port["port"] for spec in policies for rule in spec["ingress"] for port in rule["ports"]}
    assert opened == {target.port}
    assert not any("ipBlock" in peer for spec in policies for rule in spec["ingress"] for peer in rule["from"])


def test_every_pod_is_restricted(target):
    for pod in target.pods():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert "@sha256:" in container["image"]


def test_no_stage_is_left_running(target):
    pods = target.api.items(f"/api/v1/namespaces/{target.namespace}/pods", {"labelSelector": JOB_SET})
    jobs = {each.outputs["job_set"] for each in target.state.resources if each.kind == JOB_RESULT}
    running = [
        pod["metadata"]["name"]
        for pod in pods
        if pod["metadata"]["labels"][JOB_SET] in jobs and pod["status"].get("phase") in ("Pending", "Running")
    ]
    assert running == []
