"""Traefik beside the cluster's pods, on the nodes' network: it makes true what HTTPRoutes say of one Gateway."""

import json
from typing import TYPE_CHECKING

import custom_kinds
import go_build
from common import say

from cluster import build, network

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.control_plane import ControlPlane

MODULE = build.SOURCES / "traefik"
NAMESPACE, NAME = "gateways", "public"
PORT = 8880
API = "gateway.networking.k8s.io/v1"


def install(plane: "ControlPlane") -> None:
    """The kinds of the Gateway API, a Gateway, and Traefik; returns once it has given the Gateway its address."""
    assert plane.kubelets is not None, "it passes on to pods, and only real nodes have some"
    route = next(file for file in custom_kinds.files() if file.name.endswith("_httproutes.yaml"))
    plane.kubectl("apply", "--server-side", "-f", str(route.parent))
    plane.kubectl("wait", "--for=condition=Established", "customresourcedefinition", "--all")
    plane.kubectl("create", "namespace", NAMESPACE)
    listener = {"name": "web", "protocol": "HTTP", "port": PORT, "allowedRoutes": {"namespaces": {"from": "All"}}}
    gateway = {"gatewayClassName": "traefik", "listeners": [listener]}
    plane.apply(
        [
            {
                "apiVersion": API,
                "kind": "GatewayClass",
                "metadata": {"name": "traefik"},
                "spec": {"controllerName": "traefik.io/gateway-controller"},
            },
            {
                "apiVersion": API,
                "kind": "Gateway",
                "metadata": {"name": NAME, "namespace": NAMESPACE},
                "spec": gateway,
            },
        ]
    )
    flags = {
        "entrypoints.web.address": f"{network.GATEWAY}:{PORT}",
        "providers.kubernetesgateway": "true",
        "providers.kubernetesgateway.statusaddress.ip": network.GATEWAY,
        "global.checknewversion": "false",
        "global.sendanonymoususage": "false",
    }
    command = [str(binary()), *(f"--{flag}={value}" for flag, value in flags.items())]
    plane.kubelets.start_beside("traefik", command, "traefik", ("system:masters",))
    plane.processes.wait("traefik", lambda: _has_address(plane))


def binary() -> "Path":
    """The program."""
    return go_build.cached("kubernetes-traefik", [MODULE / "go.mod", MODULE / "go.sum"], _make) / "traefik"


def _has_address(plane: "ControlPlane") -> bool:
    found = json.loads(plane.kubectl("get", "gateway", NAME, "-n", NAMESPACE, "-o", "json"))
    return bool(found.get("status", {}).get("addresses"))


def _make(folder: "Path") -> None:
    say("building Traefik for the test cluster, once for this user: 10 CPU-minutes")
    go_build.build(MODULE, "github.com/traefik/traefik/v3/cmd/traefik", folder / "traefik")
