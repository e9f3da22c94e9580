"""Versions of an endpoint behind a Gateway: a real API server with the Gateway API's kinds, no controller of them."""

import re
import threading
from collections import Counter
from contextlib import suppress

import pytest

from penstock.command import status
from penstock.command.state import State
from penstock.kubernetes import gateways
from penstock.kubernetes.api import MERGE, ClusterError
from tests.cluster.conftest import eventually

HOST = "model.example"
ROUTES = f"/apis/{gateways.ROUTE[0]}/httproutes"
GATEWAYS = f"/apis/{gateways.ROUTE[0]}/namespaces/{{}}/gateways"
SERVER = "flow-serve-server"


@pytest.fixture
def _controller(knowing):
    """Plays a Gateway's controller, one that has not made up its mind about a route when it first sees it."""
    seen: Counter[str] = Counter()
    over = threading.Event()

    def run():
        while not over.wait(0.5):
            for route in knowing.items(ROUTES):
                at = route["metadata"]
                seen[at["uid"]] += 1
                status, reason = ("True", "Accepted") if seen[at["uid"]] > 4 else ("False", "Pending")
                condition = {"type": "Accepted", "status": status, "reason": reason, "message": ""}
                condition |= {"observedGeneration": at["generation"], "lastTransitionTime": "2026-01-01T00:00:00Z"}
                parent = {"parentRef": route["spec"]["parentRefs"][0], "controllerName": "example.com/played"}
                path = f"/apis/{gateways.ROUTE[0]}/namespaces/{at['namespace']}/httproutes/{at['name']}/status"
                body = {"status": {"parents": [{**parent, "conditions": [condition]}]}}
                with suppress(ClusterError):  # the route has gone meanwhile
                    knowing.request("PATCH", path, body=body, content_type=MERGE)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture
def gateway(knowing, namespace):
    """Makes a Gateway with such a listener; its `namespace/name`."""

    def make(name="public", whence="All", **listener):
        spaces = {"from": whence, **({"selector": listener.pop("selector")} if "selector" in listener else {})}
        listeners = [
            {"name": "web", "protocol": "HTTP", "port": 80, "allowedRoutes": {"namespaces": spaces}, **listener}
        ]
        body = {"apiVersion": gateways.ROUTE[0], "kind": "Gateway", "metadata": {"name": name}}
        body["spec"] = {"gatewayClassName": "played", "listeners": listeners}
        knowing.request("POST", GATEWAYS.format(namespace), body=body)
        return f"{namespace}/{name}"

    return make


def test_a_gateway_that_takes_no_route_of_the_stack_is_refused_with_the_reason(knowing, namespace, gateway):
    def told(at, host=HOST, own=None):
        with pytest.raises(ClusterError) as refused:
            gateways.url(knowing, at, host, "penstock-test", own or {})
        return str(refused.value)

    assert f"has no Gateway 'none' in namespace '{namespace}', which `gateway` names" in told(f"{namespace}/none")
    assert "listener web takes routes of its own namespace only" in told(gateway("own", "Same"))
    assert "listener web is for other.example" in told(gateway("other", hostname="other.example"))
    assert "listener web is for *.example: name the host" in told(gateway("many", hostname="*.example"), "")
    assert "listener web speaks TCP" in told(gateway("bytes", protocol="TCP"))
    chosen = gateway("chosen", "Selector", selector={"matchLabels": {"app.kubernetes.io/name": "penstock"}})
    assert "listener web takes routes of namespaces with other labels only" in told(chosen)
    own = {"app.kubernetes.io/name": "penstock"}
    assert gateways.url(knowing, chosen, HOST, "penstock-test", own) == f"http://{HOST}"

    plain = gateway("plain", port=8080)
    assert f"has no address for Gateway {plain} yet" in told(plain, "")
    status = {"status": {"addresses": [{"type": "IPAddress", "value": "10.0.0.7"}]}}
    path = f"{GATEWAYS.format(namespace)}/plain/status"
    knowing.request("PATCH", path, body=status, content_type=MERGE)
    assert gateways.url(knowing, plain, "", "penstock-test", {}) == "http://10.0.0.7:8080"


@pytest.mark.usefixtures("_controller")
def test_a_route_shares_requests_out_among_versions_and_other_weights_change_nothing_but_the_route(
    deployed, programs, knowing, gateway
):
    at = {"cluster": {"gateway": gateway(), "gateway_host": HOST}}
    inside = f"/apis/{{}}/namespaces/{deployed.namespace}"
    route = f"{inside.format(gateways.ROUTE[0])}/httproutes/{SERVER}"
    deployments = f"{inside.format('apps/v1')}/deployments"

    def up(**settings):
        deployed.configure(**at, **settings)
        return deployed.apply()

    def backends():
        (rule,) = knowing.get(route)["spec"]["rules"]
        return {each["name"]: each.get("weight") for each in rule["backendRefs"]}

    def served():
        digests = {}
        for each in knowing.items(deployments):
            arguments = each["spec"]["template"]["spec"]["containers"][0]["args"]
            digests[each["metadata"]["name"]] = arguments[arguments.index("--expect-digest") + 1]
        return digests

    def pods():
        return {each["metadata"]["uid"] for each in knowing.items(f"/api/v1/namespaces/{deployed.namespace}/pods")}

    up()
    assert deployed.outputs()["endpoint"] == f"http://{HOST}/v1/models/flights"
    assert knowing.get(route)["spec"]["hostnames"] == [HOST]
    (parent,) = knowing.get(route)["status"]["parents"]
    assert parent["conditions"][0]["status"] == "True", "it has waited for that"
    assert (backends(), served()) == ({SERVER: 1}, {SERVER: "sha256:train"})

    programs.model = "sha256:newer"
    up(epochs=2, traffic={"latest": 10, "previous": 90}, max_replicas=1)
    assert backends() == {SERVER: 10, f"{SERVER}-previous": 90}
    assert served() == {SERVER: "sha256:newer", f"{SERVER}-previous": "sha256:train"}
    for name in backends():
        chosen = knowing.get(f"/api/v1/namespaces/{deployed.namespace}/services/{name}")["spec"]["selector"]
        assert chosen["penstock.dev/workload"] == name

    eventually(lambda: pods() == pods(), "no pod is on its way")
    before = pods()
    said = up(epochs=2, traffic={"latest": 60, "previous": 40})
    assert backends() == {SERVER: 60, f"{SERVER}-previous": 40}
    assert pods() == before
    assert f"{SERVER}-route updated" in said
    told = status.endpoint(State(deployed.stack, {"resources": list(deployed.deployment().values())}))
    assert told is not None
    assert told.replicas == "2 of 2 ready"
    assert {each.number: each.share for each in told.versions} == {SERVER: "60%", f"{SERVER}-previous": "40%"}
    assert re.search(r"Resources:\s+~ 1 updated\s+\d+ unchanged\n", said), said

    deployed.configure(**at, epochs=2, traffic={"latest": 1, "2": 1})
    assert "setting 'traffic' names version 2 twice" in deployed.preview(expected=255)

    # From zero: each version's Service leads to an activator of its own, and what scales it follows its own pods.
    zero = {"min_replicas": 0, "max_replicas": 2, "epochs": 2}
    at["cluster"] |= {"scale_on": "keda", "prometheus": "http://prometheus.monitoring"}
    up(**zero, traffic={"latest": 60, "previous": 40})
    assert backends() == {SERVER: 60, f"{SERVER}-previous": 40}
    scaled = knowing.items(f"{inside.format('keda.sh/v1alpha1')}/scaledobjects")
    assert {each["spec"]["scaleTargetRef"]["name"] for each in scaled} == set(backends())
    for name in backends():
        service = knowing.get(f"/api/v1/namespaces/{deployed.namespace}/services/{name}")["spec"]["selector"]
        activator = knowing.get(f"{deployments}/{name}-activator")["spec"]
        assert service == activator["selector"]["matchLabels"]
        (container,) = activator["template"]["spec"]["containers"]
        assert container["args"][:2] == ["--to", f"{name}-replicas:{deployed.port}"]
        replicas = knowing.get(f"/api/v1/namespaces/{deployed.namespace}/services/{name}-replicas")
        assert replicas["spec"]["selector"]["penstock.dev/workload"] == name
    said = up(**zero, traffic={"latest": 10, "previous": 90})
    assert re.search(r"Resources:\s+~ 1 updated\s+\d+ unchanged\n", said), said
    at["cluster"] = {"gateway": at["cluster"]["gateway"], "gateway_host": HOST}

    said = up(epochs=2, traffic={"latest": 100})
    assert (backends(), served()) == ({SERVER: 1}, {SERVER: "sha256:newer"})
    assert said.index(f"{SERVER}-route updated") < said.index(f"{SERVER}-previous delet"), said
