"""Builds what the test cluster is made of: Kubernetes and etcd, kwok, the JobSet controller, CoreDNS."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import go_build
from common import PROJECT, say

SOURCES = PROJECT / "tools" / "kubernetes"
KUBERNETES = "1.34.4"
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")


@dataclass(frozen=True)
class Binaries:
    """Folders of executables, in the user's cache."""

    kubernetes: Path
    """The components by name; all are links to one binary."""
    kwok: Path
    jobset: Path
    """The controller, and in `components` the manifests it is installed by."""
    coredns: Path
    pause: Path


def prepare() -> Binaries:
    """Everything, built where the cache does not have it: about 25 minutes of one core the first time."""
    return Binaries(
        _module("hyper", KUBERNETES, "up to 20 minutes", _hyper),
        _module("kwok", "", "up to 5 minutes", _kwok),
        _module("jobset", "", "up to 5 minutes", _jobset),
        _module("coredns", "", "up to 3 minutes", _coredns),
        _module("pause", "", "a moment", _pause),
    )


def _module(name: str, version: str, time: str, make: go_build.Maker) -> Path:
    def told(folder: Path) -> None:
        say(f"building {name} for the test cluster, once for this user: {time}")
        make(folder)

    sources = sorted(path for path in (SOURCES / name).iterdir() if path.is_file())
    return go_build.cached(f"kubernetes-{name}", [*sources, Path(__file__), version], told)


def _hyper(folder: Path) -> None:
    major, minor, _ = KUBERNETES.split(".")
    variables = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor}
    prefix = "k8s.io/component-base/version"
    settings = [f"{prefix}.{name}={value}" for name, value in variables.items()]
    go_build.build(SOURCES / "hyper", ".", folder / "hyper", settings)
    for component in COMPONENTS:
        (folder / component).symlink_to("hyper")


def _kwok(folder: Path) -> None:
    go_build.build(SOURCES / "kwok", "sigs.k8s.io/kwok/cmd/kwok", folder / "kwok")


def _coredns(folder: Path) -> None:
    go_build.build(SOURCES / "coredns", ".", folder / "coredns")


def _pause(folder: Path) -> None:
    go_build.build(SOURCES / "pause", ".", folder / "pause")


def _jobset(folder: Path) -> None:
    module = SOURCES / "jobset"
    go_build.build(module, "sigs.k8s.io/jobset", folder / "jobset-controller")
    shutil.copytree(go_build.source(module, "sigs.k8s.io/jobset") / "config" / "components", folder / "components")
    # Go's module cache is read-only.
    for path in (folder / "components", *(folder / "components").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
