"""The Pulumi CLI: the one on PATH, else the one that a project has in `.tools/pulumi`."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OLDEST = "3.200.0"
"""The oldest that will do."""
LANGUAGE_HOST = "pulumi-language-python"
BUILT = "built"
"""The file in a project's folder for one that says it was built there, and as what version."""


@dataclass(frozen=True)
class PulumiCli:
    """A CLI with its Python language host."""

    folder: Path
    """Where both are found; it goes in front of PATH."""
    built: bool
    """Built from Go modules: it must not try to download plugins."""


def find(own: Path) -> PulumiCli | None:
    """A usable CLI that is there already; `own` is the project's folder for one."""
    on_path = shutil.which("pulumi")
    if on_path and Path(on_path).parent.resolve() != (own / "bin").resolve() and wrong(Path(on_path)) is None:
        return PulumiCli(Path(on_path).parent, built=False)
    mark = own / BUILT
    built = mark.exists()
    if wrong(own / "bin" / "pulumi", mark.read_text() if built else "") is None:
        return PulumiCli(own / "bin", built)
    return None


def wrong(cli: Path, version: str = "") -> str | None:
    """Why this CLI will not do; None where it is recent enough and has its Python language host.

    Where its version is not known it is asked, a third of a second.
    """
    if not os.access(cli, os.X_OK):
        return f"{cli} is not there"
    if not (cli.resolve().parent / LANGUAGE_HOST).exists() and not shutil.which(LANGUAGE_HOST):
        return f"{cli} has no {LANGUAGE_HOST} beside it"
    if not version:
        environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "1"}
        done = subprocess.run([cli, "version"], capture_output=True, text=True, check=False, env=environment)
        version = done.stdout.strip()
    if numbers(version) < numbers(OLDEST):
        return f"{cli} is version {version or 'unknown'}, and {OLDEST} is the oldest that will do"
    return None


def numbers(text: str) -> tuple[int, ...]:
    """The version in a text, to compare; empty where there is none."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else ()
