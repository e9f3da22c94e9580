"""Kueue's controller, run outside the cluster as its own service account; its webhooks are reached by address."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import ToolError

from cluster import controllers, jobset
from cluster.processes import HOST

if TYPE_CHECKING:
    from cluster.control_plane import ControlPlane

NAMESPACE = "kueue-system"
VERSION = "kueue.x-k8s.io/v1beta1"
USER = f"system:serviceaccount:{NAMESPACE}:controller-manager"
GROUPS = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}")
FRAMEWORKS = ["batch/job", "jobset.x-k8s.io/jobset"]
KINDS = frozenset({"jobs", "jobsets", "workloads", "workloads/status", "clusterqueues", "resourceflavors", "cohorts"})
"""Whose webhooks it serves with these frameworks; one that it does not serve would stop every object of the kind."""
METRICS = "/etc/kueue/metrics/certs"
"""It wants a certificate there and nowhere else: it has an /etc of its own, with nothing else in it."""
SCRIPT = 'mount -t tmpfs tmpfs /etc && mkdir -p "$1" && cp "$2"/tls.* "$1" && exec "$3" "--config=$4"'


def install(plane: "ControlPlane") -> None:
    """Custom resources, roles, controller and webhooks; returns once it answers."""
    unshare = shutil.which("unshare")
    if unshare is None:
        raise ToolError("Kueue needs a mount namespace of its own, and there is no unshare (Debian's util-linux)")
    binaries = controllers.kueue()
    manifests = binaries / "config"
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("apply", "--server-side", "-f", "-", text=plane.kubectl("kustomize", str(manifests / "crd")))
    # Its cluster roles are called as JobSet's are.
    named = re.sub(r"^(  name: )(?!controller-manager$)", r"\1kueue-", _roles(plane, manifests), flags=re.MULTILINE)
    plane.kubectl("apply", "-n", NAMESPACE, "-f", "-", text=named)
    plane.kubectl("wait", "--for=condition=Established", "crd/clusterqueues.kueue.x-k8s.io", "--timeout=30s")
    own = {"apiVersion": "config.kueue.x-k8s.io/v1beta1", "namespace": NAMESPACE}
    own |= {"integrations": {"frameworks": FRAMEWORKS}, "featureGates": {"VisibilityOnDemand": False}}
    ports = plane.ports["kueue-webhooks"], plane.ports["kueue-health"]
    configuration = jobset.configuration(plane, "kueue", own, *ports)
    plane.authority.sign("kueue", USER, GROUPS)
    environment = {"KUBECONFIG": str(plane.authority.kubeconfig("kueue", plane.server))}
    given = [METRICS, str(configuration.parent), str(binaries / "kueue"), str(configuration)]
    apart = ["--map-root-user", "--mount", "--propagation", "private", "sh", "-c", SCRIPT, "kueue", *given]
    plane.processes.start("kueue", Path(unshare), arguments=apart, environment=environment)
    plane.processes.wait("kueue", lambda: jobset.answers(f"http://{HOST}:{ports[1]}/readyz"))
    jobset.webhooks(plane, manifests / "webhook", "kueue", ports[0], KINDS)


def described(kind: str, name: str, namespace: str = "", **spec: Any) -> dict[str, Any]:
    """An object of Kueue's."""
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": VERSION, "kind": kind, "metadata": {"name": name, **place}, "spec": spec}


def placing(name: str, namespace: str, level: str, quota: Mapping[str, str]) -> list[dict[str, Any]]:
    """A queue of a namespace's, with a ClusterQueue of the same name, that places by a label of all Linux nodes."""
    resources = [{"name": resource, "nominalQuota": most} for resource, most in quota.items()]
    groups = [{"coveredResources": list(quota), "flavors": [{"name": name, "resources": resources}]}]
    levels = [{"nodeLabel": level}, {"nodeLabel": "kubernetes.io/hostname"}]
    return [
        described("Topology", name, levels=levels),
        described("ResourceFlavor", name, topologyName=name, nodeLabels={"kubernetes.io/os": "linux"}),
        described("ClusterQueue", name, namespaceSelector={}, resourceGroups=groups),
        described("LocalQueue", name, namespace, clusterQueue=name),
    ]


def _roles(plane: "ControlPlane", manifests: Path) -> str:
    found = plane.kubectl("kustomize", str(manifests / "rbac"))
    return found.replace("namespace: system\n", f"namespace: {NAMESPACE}\n")
