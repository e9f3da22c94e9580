"""Builds what only `make test-cluster-all` needs beside a cluster: KEDA, Kueue and Prometheus.

Apart from `build`, whose text is part of the key that the cluster's own programs are kept by.
"""

import shutil
from pathlib import Path

import go_build
from common import say

from cluster import build, packages

PROMETHEUS = {"prometheus=2.42.0+ds-5+deb12u1": "81d59a24fce84f7fbe97a45a4f2914b6a5881b5cd1db2a6a0e129e515e1a5f55"}


def keda() -> Path:
    """Folder with `operator`, `adapter`, and in `config` the manifests they are installed by."""
    return _module("keda", "up to 10 minutes", _keda)


def kueue() -> Path:
    """Folder with `kueue`, and in `config` the manifests it is installed by."""
    return _module("kueue", "up to 10 minutes", _kueue)


def prometheus() -> Path:
    """Debian's program."""
    folder = go_build.cached("kubernetes-prometheus", [str(PROMETHEUS)], _prometheus)
    return folder / "usr" / "bin" / "prometheus"


def _module(name: str, time: str, make: go_build.Maker) -> Path:
    def told(folder: Path) -> None:
        say(f"building {name} for the test cluster, once for this user: {time}")
        make(folder)

    module = build.SOURCES / name
    return go_build.cached(f"kubernetes-{name}", [module / "go.mod", module / "go.sum", Path(__file__)], told)


def _keda(folder: Path) -> None:
    module, dependency = build.SOURCES / "keda", "github.com/kedacore/keda/v2"
    for program in ("operator", "adapter"):
        go_build.build(module, f"{dependency}/cmd/{program}", folder / program)
    _copy(go_build.source(module, dependency) / "config", folder / "config")


def _kueue(folder: Path) -> None:
    module, dependency = build.SOURCES / "kueue", "sigs.k8s.io/kueue"
    go_build.build(module, f"{dependency}/cmd/kueue", folder / "kueue")
    _copy(go_build.source(module, dependency) / "config" / "components", folder / "config")


def _prometheus(folder: Path) -> None:
    say("fetching Debian's Prometheus for the test cluster, once: 19 MB")
    packages.unpack(PROMETHEUS, folder)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    # Go's module cache is read-only.
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
