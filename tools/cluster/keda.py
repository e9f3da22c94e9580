"""KEDA's operator and metrics adapter, run outside the cluster's pods, on the nodes' network, as their own account."""

from typing import TYPE_CHECKING

from cluster import aggregation, controllers, jobset

if TYPE_CHECKING:
    from cluster.control_plane import ControlPlane

NAMESPACE = "keda"
USER = f"system:serviceaccount:{NAMESPACE}:keda-operator"
GROUPS = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}")
ADAPTER, METRICS = "keda-metrics-apiserver", "external.metrics.k8s.io/v1beta1"
ADAPTER_PORT, VALUES_PORT = 6450, 9666
ROLES = ("rbac/role", "rbac/role_binding", "metrics-server/role", "metrics-server/role_binding")


def install(plane: "ControlPlane") -> None:
    """Custom resources, roles, both programs and their API; returns once the API server has metrics from them."""
    assert plane.kubelets is not None, "it asks a Prometheus on the nodes' network"
    binaries = controllers.keda()
    manifests = binaries / "config"
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("apply", "--server-side", "-f", str(manifests / "crd" / "bases"))
    for name in ("service_account/service_account", *ROLES):
        plane.kubectl("apply", "-f", str(manifests / f"{name}.yaml"))
    certificates = jobset.folder(plane, "keda", services=(f"{ADAPTER}.{NAMESPACE}.svc",))
    operator = {
        "metrics-bind-address": "127.0.0.1:8090",
        "health-probe-bind-address": "127.0.0.1:8091",
        "metrics-service-bind-address": f"127.0.0.1:{VALUES_PORT}",
        "cert-dir": certificates,
    }
    adapter = {
        "secure-port": ADAPTER_PORT,
        "bind-address": "127.0.0.1",
        "port": 8092,
        "client-ca-file": certificates / "ca.crt",
        "tls-cert-file": certificates / "tls.crt",
        "tls-private-key-file": certificates / "tls.key",
        "cert-dir": certificates,
        "metrics-service-address": f"localhost:{VALUES_PORT}",
        **{f"{use}-kubeconfig": plane.authority.path("keda-adapter.kubeconfig") for use in WAYS},
    }
    place = {"WATCH_NAMESPACE": "", "POD_NAMESPACE": NAMESPACE, "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE}
    told = ["env", *(f"{name}={value}" for name, value in place.items())]
    for name, flags in (("operator", operator), ("adapter", adapter)):
        given = [f"--{flag}={value}" for flag, value in flags.items()]
        plane.kubelets.start_beside(f"keda-{name}", [*told, str(binaries / name), *given], USER, GROUPS)
    aggregation.serve(plane, "keda-adapter", (NAMESPACE, ADAPTER), ADAPTER_PORT, [METRICS])


WAYS = ("lister", "authentication", "authorization")
"""What the adapter asks the API server for, each by a kubeconfig."""
