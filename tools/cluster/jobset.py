"""The JobSet controller, run outside the cluster as its own service account; its webhooks are reached by address."""

import base64
import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.processes import HOST

if TYPE_CHECKING:
    from cluster.control_plane import ControlPlane

NAMESPACE = "jobset-system"
USER = f"system:serviceaccount:{NAMESPACE}:controller-manager"
GROUPS = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}")


def install(plane: "ControlPlane", binaries: Path) -> None:
    """Custom resource, roles, controller and webhooks; returns once it answers."""
    components = binaries / "components"
    plane.kubectl("create", "namespace", NAMESPACE)
    plane.kubectl("apply", "--server-side", "-f", str(components / "crd" / "bases"))
    roles = plane.kubectl("kustomize", str(components / "rbac")).replace(
        "namespace: system\n", f"namespace: {NAMESPACE}\n"
    )
    plane.kubectl("apply", "-n", NAMESPACE, "-f", "-", text=roles)
    plane.kubectl("wait", "--for=condition=Established", "crd/jobsets.jobset.x-k8s.io", "--timeout=30s")
    plane.authority.sign("jobset", USER, GROUPS)
    environment = {"KUBECONFIG": str(plane.authority.kubeconfig("jobset", plane.server))}
    configuration = _configuration(plane)
    plane.processes.start("jobset", binaries / "jobset-controller", {"config": configuration}, environment=environment)
    plane.processes.wait("jobset", lambda: _answers(f"http://{HOST}:{plane.ports['health']}/readyz"))
    # From here on the API server asks them about every JobSet, so they have to be there.
    bare = plane.kubectl("kustomize", str(components / "webhook"))
    listed = plane.kubectl("create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-", text=bare)
    authority = base64.b64encode(plane.authority.path("ca.crt").read_bytes()).decode()
    plane.apply(
        [_by_address(each, plane.ports["webhooks"], authority) for each in _objects(listed) if "webhooks" in each]
    )


def _configuration(plane: "ControlPlane") -> Path:
    certificates = plane.folder / "jobset"
    certificates.mkdir(mode=0o700)
    plane.authority.sign("jobset-webhooks", "jobset-webhooks", addresses=(HOST,))
    for suffix in ("crt", "key"):
        shutil.copy(plane.authority.path(f"jobset-webhooks.{suffix}"), certificates / f"tls.{suffix}")
    content = {
        "apiVersion": "config.jobset.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "webhook": {"host": HOST, "port": plane.ports["webhooks"], "certDir": str(certificates)},
        "health": {"healthProbeBindAddress": f"{HOST}:{plane.ports['health']}"},
        "metrics": {"bindAddress": "0"},
        "clientConnection": {"qps": 500, "burst": 1000},
    }
    file = certificates / "configuration.json"
    file.write_text(json.dumps(content, indent=1))
    return file


def _by_address(found: dict[str, Any], port: int, authority: str) -> dict[str, Any]:
    found["metadata"] = {"name": f"jobset-{found['metadata']['name']}"}
    for webhook in found["webhooks"]:
        path = webhook["clientConfig"]["service"]["path"]
        webhook["clientConfig"] = {"url": f"https://{HOST}:{port}{path}", "caBundle": authority}
    return found


def _objects(text: str) -> list[dict[str, Any]]:
    """The objects kubectl writes one after the other, lists of them opened."""
    decoder, found, text = json.JSONDecoder(), [], text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found += value["items"] if value["kind"] == "List" else [value]
        text = text[end:].lstrip()
    return found


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
