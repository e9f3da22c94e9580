"""The way from the network to an endpoint on the cluster: an internal load balancer by the Gateway API. Pure."""

from collections.abc import Mapping
from typing import Any

import pulumi

from penstock.kubernetes import gateways

GATEWAY, POLICY = gateways.ROUTE[0], "networking.gke.io/v1"
CLASS = "gke-l7-rilb"
"""GKE's class of regional internal application load balancers."""
PROXIES = "10.41.0.0/23"
"""Addresses of the load balancer's proxies, a subnetwork of their own."""
PROBES = ("35.191.0.0/16", "130.211.0.0/22")
"""Where Google's health checks come from."""


def objects(
    name: str,
    port: int,
    probe: str,
    address: pulumi.Input[str],
    host: str | None,
    certificate: str | None,
    selector: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """What leads to the Service `name`, by what it is for; `address` is the name of a reserved internal address.

    With `certificate`, a regional certificate of Compute Engine, it is HTTPS; else HTTP, within the network.
    """
    listener: dict[str, Any] = {"name": "http", "protocol": "HTTP", "port": 80}
    if certificate is not None:
        tls = {"mode": "Terminate", "options": {"networking.gke.io/pre-shared-certs": certificate}}
        listener = {"name": "https", "protocol": "HTTPS", "port": 443, "tls": tls}
    listener["allowedRoutes"] = {"namespaces": {"from": "Same"}}
    check = {"type": "HTTP", "httpHealthCheck": {"port": port, "requestPath": probe}}
    parts: dict[str, tuple[str, str, dict[str, Any]]] = {
        "gateway": (
            GATEWAY,
            "Gateway",
            {
                "gatewayClassName": CLASS,
                "addresses": [{"type": "NamedAddress", "value": address}],
                "listeners": [listener],
            },
        ),
        "route": (*gateways.ROUTE, gateways.spec({"name": name}, host, port, {name: 1})),
        "health": (
            POLICY,
            "HealthCheckPolicy",
            {"default": {"config": check}, "targetRef": {"group": "", "kind": "Service", "name": name}},
        ),
        "proxies": (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            {
                "podSelector": {"matchLabels": dict(selector)},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {
                        "from": [{"ipBlock": {"cidr": cidr}} for cidr in (PROXIES, *PROBES)],
                        "ports": [{"protocol": "TCP", "port": port}],
                    }
                ],
            },
        ),
    }
    # The policy of the cluster's own pods has the Service's name already.
    names = {"proxies": f"{name}-proxies"}
    return {
        part: {"apiVersion": version, "kind": kind, "metadata": {"name": names.get(part, name)}, "spec": spec}
        for part, (version, kind, spec) in parts.items()
    }
