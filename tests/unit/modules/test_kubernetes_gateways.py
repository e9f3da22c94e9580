"""What leads from a Gateway to the versions of an endpoint; tests/cluster asks a real API server."""

import pytest
from cluster_settings import ClusterSettings
from pydantic import ValidationError

from penstock import PenstockError
from penstock.kubernetes import gateways
from penstock.kubernetes.api import Api
from penstock.kubernetes.preflight import ROUTE, Needs, asked

IMAGES = {f"{name}_image": f"registry.example.com/{name}@sha256:{'a' * 64}" for name in ("trainer", "serving")}


class Cluster(Api):
    """Has one Gateway with such listeners and addresses."""

    def __init__(self, *listeners, addresses=("10.0.0.7",)):
        self.context, self.server = "test", "https://server"
        whole = [{"name": str(at), "protocol": "HTTP", "port": 80, **each} for at, each in enumerate(listeners)]
        status = {"addresses": [{"value": each} for each in addresses]}
        self._gateway = {"spec": {"listeners": whole}, "status": status}

    def get(self, path, query=None):
        return self._gateway if "/gateways/" in path else None


def url(*listeners, host="", own=None, **more):
    whence = {"allowedRoutes": {"namespaces": {"from": "All"}}}
    return gateways.url(
        Cluster(*({**whence, **each} for each in listeners), **more), "infra/public", host, "dev", own or {}
    )


def test_whole_weights_stay_as_they_are_and_others_become_parts_of_a_million():
    assert gateways.shares({"latest": 10.0, "previous": 90.0}) == {"latest": 10, "previous": 90}
    assert gateways.shares({"latest": 0.5, "previous": 1.5}) == {"latest": 250_000, "previous": 750_000}
    assert gateways.shares({"1": 1e-9, "2": 1.0}) == {"1": 1, "2": 1_000_000}
    assert gateways.shares({"1": 2e6, "2": 2e6}) == {"1": 500_000, "2": 500_000}


def test_a_shadow_is_refused():
    with pytest.raises(PenstockError, match="setting 'traffic' gives 'latest' the weight 0, the shadow"):
        gateways.shares({"latest": 0.0, "1": 100.0})


def test_a_version_named_by_its_digest_has_a_name_that_kubernetes_takes():
    assert gateways.workload("serve", f"sha256:{'ab' * 32}") == "serve-abababababab"


def test_the_gateway_is_a_caller_where_callers_are_named():
    assert gateways.callers("infra/public", ["apps"]) == ["apps", "infra"]
    assert gateways.callers("infra/public", []) == []
    assert gateways.callers("", ["apps"]) == ["apps"]


def test_the_url_is_the_host_s_else_the_listener_s_else_the_gateway_s_own():
    assert url({"port": 8080}, host="model.example") == "http://model.example:8080"
    assert url({}, {"protocol": "HTTPS", "port": 443}, host="model.example") == "https://model.example"
    assert url({"hostname": "a.example"}) == "http://a.example"
    assert url({}) == "http://10.0.0.7"
    assert url({"port": 8080}, addresses=["fd00::1"]) == "http://[fd00::1]:8080"
    assert url({"hostname": "*.example"}, host="model.example", addresses=()) == "http://model.example"


@pytest.mark.parametrize(
    ("expression", "taken"),
    [
        ({"operator": "In", "key": "kubernetes.io/metadata.name", "values": ["dev"]}, True),
        ({"operator": "NotIn", "key": "kubernetes.io/metadata.name", "values": ["dev"]}, False),
        ({"operator": "Exists", "key": "team"}, True),
        ({"operator": "DoesNotExist", "key": "team"}, False),
        ({"operator": "NotIn", "key": "none", "values": ["dev"]}, True),
    ],
)
def test_a_listener_s_selector_is_judged_by_the_labels_that_the_namespace_will_have(expression, taken):
    spaces = {"from": "Selector", "selector": {"matchExpressions": [expression]}}
    listener = {"allowedRoutes": {"namespaces": spaces}}
    if taken:
        assert url(listener, own={"team": "a"}) == "http://10.0.0.7"
    else:
        with pytest.raises(gateways.ClusterError, match="routes of namespaces with other labels only"):
            url(listener, own={"team": "a"})


def test_rights_on_routes_and_on_that_one_gateway_are_asked_for():
    rights = asked(Needs("stack", "dev", kinds=(ROUTE,), gateway="infra/public"))
    assert ("gateway.networking.k8s.io", "httproutes", "patch", "dev", "") in rights
    assert [each for each in rights if each[1] == "gateways"] == [
        ("gateway.networking.k8s.io", "gateways", "get", "infra", "public")
    ]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"gateway": "public"}, "gateway"),
        ({"gateway_host": "model.example"}, "gateway_host is given without gateway"),
        ({"gateway": "infra/public", "gateway_host": "https://model.example"}, "gateway_host"),
    ],
)
def test_a_gateway_goes_by_namespace_and_name(settings, told):
    assert ClusterSettings.model_validate({**IMAGES, "gateway": "infra/public"}).gateway == "infra/public"
    with pytest.raises(ValidationError, match=told):
        ClusterSettings.model_validate({**IMAGES, **settings})
