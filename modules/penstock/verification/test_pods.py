# pyright: basic
"""An endpoint's pods, as the cluster's API server tells of them."""

import pytest

from penstock.command.state import JOB_RESULT
from penstock.kubernetes.gateways import ROUTE
from penstock.kubernetes.knative import COUNT_PORT, INSIDE, PROXY_PORT, SERVICE
from penstock.kubernetes.verdict import JOB_SET, is_ready
from penstock.verification.target import range_of


@pytest.fixture(scope="module")
def listed(target):
    """The objects of a kind in the stack's namespace."""

    def objects(path):
        group, _, plural = path.rpartition("/")
        return target.api.items(f"{group}/namespaces/{target.namespace}/{plural}")

    return objects


def test_as_many_pods_are_ready_as_the_range_says(target):
    for workload, allowed in target.ranges.items():
        assert allowed.lowest <= len(target.ready(workload)) <= allowed.highest, workload


def test_what_scales_the_pods_has_the_range_that_the_stack_says(target, listed):
    scalers = [each["spec"] for each in listed("/apis/autoscaling/v2/horizontalpodautoscalers")]
    for workload, allowed in target.ranges.items():
        own = [each for each in scalers if each["scaleTargetRef"]["name"] == workload]
        # KEDA scales by one of its own, also between none and one.
        assert len(own) == (1 if allowed.scaled else 0), workload
        for each in own:
            assert (each["minReplicas"], each["maxReplicas"]) == (max(1, allowed.lowest), allowed.highest)
        for live in listed(f"/apis/{SERVICE[0]}/services") if workload in target.knative else []:
            if live["metadata"]["name"] == target.knative[workload]:
                assert is_ready(live), live["status"]
                assert range_of(live["spec"]["template"]["metadata"]["annotations"]) == allowed


def test_nothing_of_the_namespace_is_reached_from_outside_the_cluster(target, listed):
    # An ExternalName is another name for something; Knative gives the way in that it has within the cluster one.
    inside = ("ClusterIP", "ExternalName")
    public = [each["metadata"]["name"] for each in listed("/api/v1/services") if each["spec"]["type"] not in inside]
    assert public == []
    assert [each["metadata"]["name"] for each in listed("/apis/networking.k8s.io/v1/ingresses")] == []
    # Where there is a Gateway, nothing leads through it but what the stack has made, and as it has made it.
    for plural, kind in (("gateways", "Gateway"), ("httproutes", "HTTPRoute")):
        found = target.api.get(f"/apis/{ROUTE[0]}/namespaces/{target.namespace}/{plural}")
        made = [each.outputs for each in target.state.resources if each.type.endswith(f":{kind}")]
        ways = {each["metadata"]["name"]: _leads(each["spec"]) for each in made}
        for each in found["items"] if found else []:
            if INSIDE.items() <= each["metadata"].get("labels", {}).items():
                continue  # Knative's, where it leads by a Gateway
            assert ways.get(each["metadata"]["name"]) == _leads(each["spec"]), each["metadata"]["name"]


def test_the_endpoint_is_reached_on_its_port_only(target, listed):
    specs = [each["spec"] for each in listed("/apis/networking.k8s.io/v1/networkpolicies")]
    made = [each.outputs["spec"] for each in target.state.resources if each.type.endswith(":NetworkPolicy")]
    for workload in target.ranges:
        own = [each for each in specs if workload in each["podSelector"].get("matchLabels", {}).values()]
        assert own, workload
        opened = {port["port"] for spec in own for rule in spec["ingress"] for port in rule["ports"]}
        assert opened == {target.port, *((PROXY_PORT, COUNT_PORT) if workload in target.knative else ())}
        # On GKE, the proxies of the load balancer, and what checks whether a pod answers.
        assert _addresses(own) <= _addresses(made) - {"0.0.0.0/0", "::/0"}


def test_every_pod_is_restricted(target):
    for pod in [pod for workload in target.ranges for pod in target.pods(workload)]:
        assert pod["spec"]["automountServiceAccountToken"] is False
        for container in pod["spec"]["containers"]:
            assert {**pod["spec"].get("securityContext", {}), **container["securityContext"]}["runAsNonRoot"] is True
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


def _leads(spec):
    """The class of a Gateway, or the Gateways of a route."""
    return spec.get("gatewayClassName"), [each["name"] for each in spec.get("parentRefs", [])]


def _addresses(policies):
    """The blocks of addresses, not pods, that policies let in."""
    peers = [peer for spec in policies for rule in spec.get("ingress", []) for peer in rule.get("from", [])]
    return {peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer}
