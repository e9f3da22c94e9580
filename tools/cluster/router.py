"""kube-router on every real node, for nothing but the enforcement of NetworkPolicies; kubelets alone enforce none."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import go_build
from common import say

from cluster import build, network, packages

if TYPE_CHECKING:
    from cluster.control_plane import ControlPlane

PACKAGES = {
    "ipset=7.17-1": "4bcc86f6658ca92fe2e21a6a7d4fd162d3b94ec3cdc709a9cf05f0a8ad9c7725",
    "libipset13=7.17-1": "67fe7a8366878b0431b6e247c04b131b43df90f8090000a2681e63d4c22d02ca",
    "libmnl0=1.0.4-3": "4581f42e3373cb72f9ea4e88163b17873afca614a6c6f54637e95aa75983ea7c",
}
MODULE = build.SOURCES / "router"
FLAGS = {
    "run-firewall": "true",
    "run-router": "false",
    "run-service-proxy": "false",
    "health-port": "0",
    "service-cluster-ip-range": network.SERVICES,
}
SYSTEM = "kube-system"
OUTSIDE = "outside"
"""The pod that stands for what is on the nodes' network but in no pod: the name server, Prometheus, the tests."""


def binary() -> Path:
    """The folder with `kube-router`, and in `usr/sbin` ipset, by which it names the pods of a policy."""
    return go_build.cached("kubernetes-router", [MODULE / "go.mod", MODULE / "go.sum", str(PACKAGES)], _make)


def start(plane: "ControlPlane", index: int) -> None:
    """Enforces NetworkPolicies on a node that is ready, from now on."""
    assert plane.kubelets is not None
    folder = binary()
    environment = _environment(folder)
    name = f"router-{index}"
    if not plane.authority.path(f"{name}.crt").exists():
        plane.authority.sign(name, f"system:{name}", ("system:masters",))
    kubeconfig = plane.authority.kubeconfig(name, f"https://{network.GATEWAY}:{network.SERVER_PORT}")
    own = {"kubeconfig": kubeconfig, "hostname-override": f"node-{index}"}
    nsenter, *inside = plane.kubelets.enter(index)
    entered = Path(str(shutil.which(nsenter)))
    command = [*inside, str(folder / "kube-router")]
    plane.processes.start(name, entered, {**FLAGS, **own}, arguments=command, environment=environment)
    chain = [str(entered), *inside, "iptables", "-S", "KUBE-ROUTER-FORWARD"]
    plane.processes.wait(name, lambda: _is_there(chain, environment))


def stand_for_the_outside(plane: "ControlPlane") -> None:
    """What asks from the nodes' network has the address of its gateway, which policies know of a pod only."""
    container = {"name": OUTSIDE, "image": "registry.test/none:1"}
    spec = {"schedulerName": OUTSIDE, "containers": [container]}
    plane.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": OUTSIDE, "namespace": SYSTEM}, "spec": spec}])
    status = {"phase": "Running", "podIP": network.GATEWAY, "podIPs": [{"ip": network.GATEWAY}]}
    patch = json.dumps({"status": status})
    plane.kubectl("patch", "pod", OUTSIDE, "-n", SYSTEM, "--subresource=status", "--type=merge", "-p", patch)


def _environment(folder: Path) -> dict[str, str]:
    found = packages.environment(packages.prepare())
    own = {"PATH": folder / "usr/sbin", "LD_LIBRARY_PATH": folder / "usr/lib/x86_64-linux-gnu"}
    return {**found, **{name: f"{place}:{found[name]}" for name, place in own.items()}}


def _is_there(chain: list[str], environment: Mapping[str, str]) -> bool:
    return subprocess.run(chain, env=dict(environment), capture_output=True, check=False).returncode == 0


def _make(folder: Path) -> None:
    say("building kube-router for the test cluster, once for this user: up to 5 minutes")
    go_build.build(MODULE, "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router", folder / "kube-router")
    packages.unpack(PACKAGES, folder)
