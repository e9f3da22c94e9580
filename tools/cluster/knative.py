"""Knative Serving in pods of the cluster, installed by its own manifests, with Traefik as its ingress.

Both are built from Go modules; a node gets an image of each program.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import go_build
import yaml
from common import say

from cluster import build, image, network

if TYPE_CHECKING:
    from cluster.control_plane import ControlPlane

MODULE, INGRESS = build.SOURCES / "knative", build.SOURCES / "knative-ingress"
NAMESPACE = "knative-serving"
UPSTREAM = "knative.dev/serving"
PROGRAMS = ("activator", "autoscaler", "controller", "queue", "webhook")
MANIFESTS = {UPSTREAM: "config/core", "knative.dev/networking": "config", "knative.dev/caching": "config"}
"""By Go module, the folder of what a release is made of."""
FIRST = ("100-namespace.yaml", "300-resources", "certificate.yaml", "domain-claim.yaml", "image.yaml", "ingress.yaml")
ORDER = (
    *(*FIRST, "serverlessservice.yaml", "200-roles", "200-serviceaccount.yaml"),
    *("configmaps", "config-network.yaml", "webhooks/secret.yaml", "deployments", "webhooks"),
)
"""What is applied of it, one after the other: nobody is asked who does not answer yet."""
FEATURES = ("volumes-emptydir", "persistent-volume-claim", "persistent-volume-write", "init-containers")
SETTINGS: dict[str, dict[str, str]] = {
    "config-features": {f"kubernetes.podspec-{feature}": "enabled" for feature in FEATURES},
    "config-network": {"ingress-class": "traefik.ingress.networking.knative.dev"},
}
SERVER = {"KUBERNETES_SERVICE_HOST": network.GATEWAY, "KUBERNETES_SERVICE_PORT": str(network.SERVER_PORT)}
"""Where pods find the API server: here it has no address among the Services."""
PORT = 8080


def install(plane: "ControlPlane", nodes: int) -> None:
    """Returns once all of it runs, on some of so many nodes, and the API server asks Knative about its kinds."""
    named = {name: _loaded(plane, nodes, name, binaries() / name) for name in PROGRAMS}
    assert plane.kubelets is not None
    # From there the API server asks what it asks of pods.
    plane.kubelets.route_to_services()
    for part in ORDER:
        plane.apply(list(_objects(binaries() / "config" / part, named)))
        if part == "serverlessservice.yaml":
            plane.kubectl("wait", "--for=condition=Established", "customresourcedefinition", "--all")
        if part == "deployments":
            plane.kubectl("wait", "--for=condition=Available", "deployment", "--all", "-n", NAMESPACE, "--timeout=300s")
    asked = ("-o=jsonpath={.webhooks[*].clientConfig.caBundle}",)
    for kind, prefix in (("mutating", ""), ("validating", "validation.")):
        named_so = ("get", f"{kind}webhookconfiguration", f"{prefix}webhook.serving.knative.dev", *asked)
        plane.processes.wait("network", lambda named_so=named_so: bool(plane.kubectl(*named_so)))


def lead(plane: "ControlPlane", nodes: int) -> None:
    """Traefik, which leads to what Knative has; returns once it runs."""
    plane.apply(_ingress(_loaded(plane, nodes, "traefik", ingress() / "traefik")))
    plane.kubectl("wait", "--for=condition=Available", "deployment", "--all", "-n", "traefik", "--timeout=300s")


def remove(plane: "ControlPlane") -> None:
    """Leaves its kinds, and nothing that runs or is asked."""
    for kind in ("mutating", "validating"):
        chosen = ("-l", "app.kubernetes.io/name=knative-serving")
        plane.kubectl("delete", f"{kind}webhookconfiguration", *chosen)
    plane.kubectl("delete", "namespace", NAMESPACE, "traefik", "--ignore-not-found", "--wait=false")


def binaries() -> Path:
    """Folder of the programs, and in `config` of the manifests they are installed by."""
    return go_build.cached("kubernetes-knative", [MODULE / "go.mod", MODULE / "go.sum", str(MANIFESTS)], _make)


def ingress() -> Path:
    """Folder of a Traefik that knows Knative's kinds."""
    return go_build.cached("kubernetes-knative-ingress", [INGRESS / "go.mod", INGRESS / "go.sum"], _make_ingress)


def _loaded(plane: "ControlPlane", nodes: int, name: str, program: Path) -> str:
    assert plane.kubelets is not None, "it runs in pods"
    return plane.kubelets.load(image.of_program(f"knative-{name}", program), *range(nodes))


def _make(folder: Path) -> None:
    say("building Knative for the test cluster, once for this user: 8 CPU-minutes")
    for program in PROGRAMS:
        go_build.build(MODULE, f"{UPSTREAM}/cmd/{program}", folder / program)
    for module, manifests in MANIFESTS.items():
        shutil.copytree(go_build.source(MODULE, module) / manifests, folder / "config", dirs_exist_ok=True)
        # Go's module cache is read-only.
        for path in (folder / "config", *(folder / "config").rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def _make_ingress(folder: Path) -> None:
    say("building Traefik with Knative's kinds for the test cluster, once for this user: 10 CPU-minutes")
    go_build.build(INGRESS, "github.com/traefik/traefik/v3/cmd/traefik", folder / "traefik")


def _objects(part: Path, images: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The objects of a file or folder, with images for the programs' names, as a release has them."""
    files = sorted(part.glob("*.yaml")) if part.is_dir() else [part]
    for file in files:
        text = file.read_text(encoding="utf-8")
        for name in PROGRAMS:
            text = text.replace(f"ko://{UPSTREAM}/cmd/{name}", images[name])
        for each in yaml.safe_load_all(text):
            if not each or each["kind"] == "HorizontalPodAutoscaler":
                continue
            if each["kind"] == "ConfigMap":
                each["data"] |= SETTINGS.get(each["metadata"]["name"], {})
            if each["kind"] == "Deployment":
                for container in each["spec"]["template"]["spec"]["containers"]:
                    container["env"] += _environment()
            yield each


def _environment() -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in SERVER.items()]


def _ingress(traefik: str) -> list[dict[str, Any]]:
    """Traefik, with what it must read; it leads from a Service of its own to those that Knative makes."""
    name, labels = "traefik", {"app": "traefik"}
    place = {"name": name, "namespace": name}
    group = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [""], "resources": ["services", "secrets"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": ["networking.internal.knative.dev"],
            "resources": ["ingresses", "ingresses/status"],
            "verbs": ["get", "list", "watch", "update"],
        },
    ]
    flags = {
        "entrypoints.private.address": f":{PORT}",
        "entrypoints.public.address": f":{PORT + 1}",
        "experimental.knative": "true",
        "providers.knative.privateentrypoints": "private",
        "providers.knative.privateservice.name": name,
        "providers.knative.privateservice.namespace": name,
        "providers.knative.publicentrypoints": "public",
        "global.checknewversion": "false",
        "global.sendanonymoususage": "false",
    }
    container = {
        "name": name,
        "image": traefik,
        "args": [f"--{flag}={value}" for flag, value in flags.items()],
        "env": _environment(),
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    template = {"metadata": {"labels": labels}, "spec": {"serviceAccountName": name, "containers": [container]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    ports = [{"name": "http", "port": 80, "targetPort": PORT}]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": place},
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", **place}],
        },
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": place, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": place, "spec": {"selector": labels, "ports": ports}},
    ]
