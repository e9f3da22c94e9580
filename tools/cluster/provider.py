"""Builds the provider plugin `pulumi-resource-kubernetes`, which is released as a binary only, from its Go module."""

import json
import shutil
import tempfile
from pathlib import Path

import go_build
from common import say

from cluster import build

MODULE = build.SOURCES / "provider"
NAME = "pulumi-resource-kubernetes"
UPSTREAM = "github.com/pulumi/pulumi-kubernetes/provider/v4"
VERSION = "4.25.0"
"""The release whose eve the pinned commit is of."""
SCHEMAS = ("schema", "terraform-mapping")


def binary() -> Path:
    """The plugin, built first where the cache does not have it."""
    sources = sorted(path for path in MODULE.iterdir() if path.is_file())
    return go_build.cached("kubernetes-provider", [*sources, Path(__file__)], _make) / NAME


def _make(folder: Path) -> None:
    say(f"building {NAME} from source, once for this user: up to 10 minutes")
    with tempfile.TemporaryDirectory() as temporary:
        module = Path(temporary)
        shutil.copytree(MODULE, module, dirs_exist_ok=True)
        upstream = go_build.source(module, UPSTREAM) / "cmd" / NAME
        for name in SCHEMAS:
            # As upstream's generate.go does, which the module's main package cannot be built without.
            content = json.loads((upstream / f"{name}.json").read_text())
            if name == "schema":
                content["version"] = VERSION
            (module / f"{name}-embed.json").write_text(json.dumps(content, separators=(",", ":")))
        go_build.build(module, ".", folder / NAME, [f"{UPSTREAM}/pkg/version.Version={VERSION}"])
