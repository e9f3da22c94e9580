"""What HPAs follow without KEDA: metrics-server, for processors, and prometheus-adapter, for what Prometheus counts."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import go_build
from common import say

from cluster import aggregation, build, jobset, prometheus

if TYPE_CHECKING:
    from cluster.control_plane import ControlPlane

CPU, REQUESTS = "metrics-server", "prometheus-adapter"
PROGRAMS = {CPU: ("cmd/metrics-server", "manifests/base"), REQUESTS: ("cmd/adapter", "deploy/manifests")}
"""By module of ours: the package built from it, and the folder with what it is installed by."""
PORTS = {CPU: 6451, REQUESTS: 6452}
ROLES = {
    CPU: ("rbac",),
    REQUESTS: (
        *("service-account", "cluster-role", "cluster-role-binding"),
        *("cluster-role-binding-delegator", "role-binding-auth-reader"),
    ),
}


def install_cpu(plane: "ControlPlane") -> None:
    """metrics-server; returns once the API server has its metrics."""
    key = plane.authority.path
    kubelets = {
        "kubelet-client-certificate": key("kubelet-client.crt"),
        "kubelet-client-key": key("kubelet-client.key"),
        "kubelet-certificate-authority": key("ca.crt"),
        "kubelet-preferred-address-types": "InternalIP",
        "metric-resolution": "10s",
        "kubelet-request-timeout": "5s",
        "kubeconfig": key(f"{CPU}.kubeconfig"),
    }
    _start(plane, CPU, "kube-system", kubelets)
    aggregation.serve(plane, CPU, ("kube-system", CPU), PORTS[CPU], ["metrics.k8s.io/v1beta1"])


def install_requests(plane: "ControlPlane", rules: dict[str, Any]) -> None:
    """prometheus-adapter with those rules, where Prometheus is; returns once the API server has its metrics."""
    plane.kubectl("create", "namespace", "monitoring")
    configuration = plane.folder / "prometheus-adapter.json"
    configuration.write_text(json.dumps(rules))
    asked = {
        "config": configuration,
        "prometheus-url": prometheus.URL,
        "metrics-relist-interval": "5s",
        "lister-kubeconfig": plane.authority.path(f"{REQUESTS}.kubeconfig"),
    }
    _start(plane, REQUESTS, "monitoring", asked)
    versions = [f"custom.metrics.k8s.io/{version}" for version in ("v1beta1", "v1beta2")]
    aggregation.serve(plane, REQUESTS, ("monitoring", REQUESTS), PORTS[REQUESTS], versions)


def _start(plane: "ControlPlane", name: str, namespace: str, flags: dict[str, Any]) -> None:
    assert plane.kubelets is not None, "it asks what is on the nodes' network"
    binaries = _built(name)
    for role in ROLES[name]:
        plane.kubectl("apply", "-f", str(binaries / "config" / f"{role}.yaml"))
    certificates = jobset.folder(plane, name, services=(f"{name}.{namespace}.svc",))
    kubeconfig = plane.authority.path(f"{name}.kubeconfig")
    served = {
        "secure-port": PORTS[name],
        "bind-address": "127.0.0.1",
        "tls-cert-file": certificates / "tls.crt",
        "tls-private-key-file": certificates / "tls.key",
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
    }
    given = [f"--{flag}={value}" for flag, value in {**served, **flags}.items()]
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    account = f"system:serviceaccount:{namespace}:{name}"
    plane.kubelets.start_beside(name, [str(binaries / name), *given], account, groups)


def _built(name: str) -> Path:
    module, (package, manifests) = build.SOURCES / name, PROGRAMS[name]
    dependency = f"sigs.k8s.io/{name}"

    def make(folder: Path) -> None:
        say(f"building {name} for the test cluster, once for this user: up to 3 minutes")
        go_build.build(module, f"{dependency}/{package}", folder / name)
        source, target = go_build.source(module, dependency) / manifests, folder / "config"
        target.mkdir()
        for role in ROLES[name]:
            shutil.copyfile(source / f"{role}.yaml", target / f"{role}.yaml")

    return go_build.cached(f"kubernetes-{name}", [module / "go.mod", module / "go.sum", str(ROLES[name])], make)
