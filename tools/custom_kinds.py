"""The definitions of kinds that a cluster does not bring along, from the pinned Go modules of those who define them."""

import json
import os
import subprocess
from pathlib import Path

import go_build
from common import PROJECT, ToolError

SOURCES: tuple[tuple[str, str, str], ...] = (
    ("kubernetes/jobset", "sigs.k8s.io/jobset", "config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml"),
    ("kubernetes/kueue", "sigs.k8s.io/kueue", "config/components/crd/bases/kueue.x-k8s.io_localqueues.yaml"),
    ("kubernetes/keda", "github.com/kedacore/keda/v2", "config/crd/bases/keda.sh_scaledobjects.yaml"),
    ("kubernetes/knative", "knative.dev/serving", "config/core/300-resources/service.yaml"),
    ("gatewayapi", "sigs.k8s.io/gateway-api", "config/crd/standard/gateway.networking.k8s.io_gateways.yaml"),
    ("gatewayapi", "sigs.k8s.io/gateway-api", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
)
"""Our module that pins it, the module, and the file in it."""


def files() -> list[Path]:
    """The files, fetched first where Go's module cache does not have them."""
    return [fetched(PROJECT / "tools" / pinning, module) / file for pinning, module, file in SOURCES]


def fetched(pinning: Path, module: str) -> Path:
    """The folder of a module's source, which one of ours pins."""
    command = [go_build.toolchain(pinning), "mod", "download", "-json", module]
    environment = {**os.environ, **go_build.ENVIRONMENT}
    done = subprocess.run(command, cwd=pinning, env=environment, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout or "{}")
    if done.returncode != 0 or "Dir" not in found:
        raise ToolError(f"the source of {module} is not to be had: {found.get('Error') or done.stderr.strip()}")
    return Path(found["Dir"])
