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
ALL: frozenset[str] = frozenset()
"""Of webhooks: whatever the kinds."""


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
    configured = {"config": _configuration(plane)}
    plane.processes.start("jobset", binaries / "jobset-controller", configured, environment=environment)
    plane.processes.wait("jobset", lambda: answers(f"http://{HOST}:{plane.ports['health']}/readyz"))
    # From here on the API server asks it about every JobSet, so it has to be there.
    webhooks(plane, components / "webhook", "jobset", plane.ports["webhooks"])


def webhooks(plane: "ControlPlane", manifests: Path, name: str, port: int, kinds: frozenset[str] = ALL) -> None:
    """Has the API server ask a controller that listens on a port about every object of the kinds it knows."""
    bare = plane.kubectl("kustomize", str(manifests))
    listed = plane.kubectl("create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-", text=bare)
    authority = base64.b64encode(plane.authority.path("ca.crt").read_bytes()).decode()
    found = [each for each in _objects(listed) if "webhooks" in each]
    for each in found:
        each["metadata"] = {"name": f"{name}-{each['metadata']['name']}"}
        each["webhooks"] = [webhook for webhook in each["webhooks"] if kinds == ALL or _plurals(webhook) <= kinds]
        for webhook in each["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"]
            webhook["clientConfig"] = {"url": f"https://{HOST}:{port}{path}", "caBundle": authority}
    plane.apply(found)


def _configuration(plane: "ControlPlane") -> Path:
    ports = plane.ports["webhooks"], plane.ports["health"]
    return configuration(plane, "jobset", {"apiVersion": "config.jobset.x-k8s.io/v1alpha1"}, *ports)


def configuration(plane: "ControlPlane", name: str, own: dict[str, Any], webhook_port: int, health_port: int) -> Path:
    """The file by which a controller of the family that JobSet and Kueue are of is configured; `tls.crt` is beside."""
    certificates = folder(plane, name)
    content = {
        "kind": "Configuration",
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "webhook": {"host": HOST, "port": webhook_port, "certDir": str(certificates)},
        "health": {"healthProbeBindAddress": f"{HOST}:{health_port}"},
        "metrics": {"bindAddress": "0"},
        "clientConnection": {"qps": 500, "burst": 1000},
        **own,
    }
    file = certificates / "configuration.json"
    file.write_text(json.dumps(content, indent=1))
    return file


def folder(plane: "ControlPlane", name: str, services: tuple[str, ...] = ()) -> Path:
    """A folder with the certificate that a controller serves by, named as its kind wants it."""
    certificates = plane.folder / name
    certificates.mkdir(mode=0o700)
    plane.authority.sign(f"{name}-served", f"{name}-served", addresses=(HOST,), services=services)
    for suffix in ("crt", "key"):
        shutil.copy(plane.authority.path(f"{name}-served.{suffix}"), certificates / f"tls.{suffix}")
    shutil.copy(plane.authority.path("ca.crt"), certificates)
    return certificates


def _plurals(webhook: dict[str, Any]) -> set[str]:
    return {plural for rule in webhook["rules"] for plural in rule["resources"]}


def _objects(text: str) -> list[dict[str, Any]]:
    """The objects kubectl writes one after the other, lists of them opened."""
    decoder, found, text = json.JSONDecoder(), [], text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found += value["items"] if value["kind"] == "List" else [value]
        text = text[end:].lstrip()
    return found


def answers(url: str) -> bool:
    """Whether a URL answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
