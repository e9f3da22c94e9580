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
    if wrong(own / "bin" / "pulumi") is None:
        return PulumiCli(own / "bin", built=(own / "built").exists())
    return None


def wrong(cli: Path) -> str | None:
    """Why this CLI will not do; None where it is recent enough and has its Python language host."""
    if not os.access(cli, os.X_OK):
        return f"{cli} is not there"
    if not (cli.resolve().parent / LANGUAGE_HOST).exists() and not shutil.which(LANGUAGE_HOST):
        return f"{cli} has no {LANGUAGE_HOST} beside it"
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "1"}
    done = subprocess.run([cli, "version"], capture_output=True, text=True, check=False, env=environment)
    if numbers(done.stdout) < numbers(OLDEST):
        return f"{cli} is version {done.stdout.strip() or 'unknown'}, and {OLDEST} is the oldest that will do"
    return None


def numbers(text: str) -> tuple[int, ...]:
    """The version in a text, to compare; empty where there is none."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else ()
