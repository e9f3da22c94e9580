"""The Pulumi CLI: the one on PATH, else the official installer's, else built from Go modules."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from common import TOOLS, ToolError, run, say

VERSION = "3.200.0"
"""What is installed or built, and the oldest that will do."""
FOLDER = TOOLS / "pulumi"
LANGUAGE_HOST = "pulumi-language-python"
INSTALLER = "https://get.pulumi.com"


@dataclass(frozen=True)
class PulumiCli:
    """A CLI with its Python language host."""

    folder: Path
    """Where both are found; it goes in front of PATH."""
    built: bool
    """Built from Go modules: it must not try to download plugins."""


def find() -> PulumiCli | None:
    """A usable CLI that is there already."""
    on_path = shutil.which("pulumi")
    if on_path and Path(on_path).parent != FOLDER / "bin" and usable(Path(on_path)):
        return PulumiCli(Path(on_path).parent, built=False)
    if usable(FOLDER / "bin" / "pulumi"):
        return PulumiCli(FOLDER / "bin", built=(FOLDER / "built").exists())
    return None


def prepare() -> PulumiCli:
    """A usable CLI, installed or built when there is none."""
    found = find()
    if found is None:
        TOOLS.mkdir(exist_ok=True)
        shutil.rmtree(FOLDER, ignore_errors=True)
        if not _install():
            import pulumi_build

            pulumi_build.build(FOLDER, VERSION)
            (FOLDER / "built").touch()
        found = find()
    if found is None:
        raise ToolError(f"the Pulumi CLI in {FOLDER / 'bin'} does not run; remove {FOLDER} and try again")
    return found


def usable(cli: Path) -> bool:
    """Whether this is a CLI that is recent enough and has its Python language host."""
    if not os.access(cli, os.X_OK):
        return False
    beside = cli.resolve().parent / LANGUAGE_HOST
    if not beside.exists() and not shutil.which(LANGUAGE_HOST):
        return False
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "1"}
    done = subprocess.run([cli, "version"], capture_output=True, text=True, check=False, env=environment)
    return _numbers(done.stdout) >= _numbers(VERSION)


def _install() -> bool:
    if not shutil.which("curl"):
        return False
    say(f"Pulumi {VERSION} is not on PATH: trying Pulumi's own installer")
    fetch = ["curl", "-fsSL", "--connect-timeout", "5", "--max-time", "30", INSTALLER]
    fetched = subprocess.run(fetch, capture_output=True, text=True, check=False)
    if fetched.returncode != 0:
        say(f"it cannot be reached ({fetched.stderr.strip() or 'no answer'})")
        return False
    script = TOOLS / "install-pulumi.sh"
    script.write_text(fetched.stdout)
    try:
        run(["sh", script, "--version", VERSION, "--install-root", FOLDER, "--no-edit-path"], "Pulumi's installer")
    except ToolError as exc:
        say(str(exc))
        shutil.rmtree(FOLDER, ignore_errors=True)
        return False
    finally:
        script.unlink()
    return usable(FOLDER / "bin" / "pulumi")


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else ()


if __name__ == "__main__":
    try:
        prepare()
    except ToolError as exc:
        sys.exit(f"error: {exc}")
