"""The Pulumi CLI: the one on PATH, else the official installer's, else built from Go modules."""

import shutil
import subprocess
import sys

from common import TOOLS, ToolError, run, say

from penstock.command import cli
from penstock.command.cli import PulumiCli

VERSION = cli.OLDEST
"""What is installed or built."""
FOLDER = TOOLS / "pulumi"
INSTALLER = "https://get.pulumi.com"


def find() -> PulumiCli | None:
    """A usable CLI that is there already."""
    return cli.find(FOLDER)


def prepare() -> PulumiCli:
    """A usable CLI, installed or built when there is none."""
    found = find()
    if found is None:
        TOOLS.mkdir(exist_ok=True)
        shutil.rmtree(FOLDER, ignore_errors=True)
        if not _install():
            import pulumi_build

            pulumi_build.build(FOLDER, VERSION)
            (FOLDER / cli.BUILT).write_text(VERSION)
        found = find()
    if found is None:
        raise ToolError(f"the Pulumi CLI in {FOLDER / 'bin'} does not run; remove {FOLDER} and try again")
    return found


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
    return cli.wrong(FOLDER / "bin" / "pulumi") is None


if __name__ == "__main__":
    try:
        prepare()
    except ToolError as exc:
        sys.exit(f"error: {exc}")
