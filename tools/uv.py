"""uv: the one on PATH, else a pinned one, installed into the project."""

import shutil
import subprocess
import sys
from pathlib import Path

from common import TOOLS, ToolError, run, say

VERSION = "0.13.9"
OLDEST = (0, 5)


def find() -> Path:
    """A usable uv, installed when there is none."""
    on_path = shutil.which("uv")
    if on_path and _version(Path(on_path)) >= OLDEST:
        return Path(on_path)
    for place in (TOOLS / "uv" / "bin" / "uv", TOOLS / "uv-target" / "bin" / "uv"):
        if place.exists() and _version(place) >= OLDEST:
            return place
    say(f"installing uv {VERSION} into {TOOLS.name}/")
    return _install()


def _install() -> Path:
    wanted = ["install", "--quiet", "--disable-pip-version-check", f"uv=={VERSION}"]
    venv, target = TOOLS / "uv", TOOLS / "uv-target"
    for folder in (venv, target):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        run([sys.executable, "-m", "venv", venv], "making an environment for uv")
    except ToolError:
        # Debian's Python comes without ensurepip; its pip, where there is one, can still fill a folder.
        shutil.rmtree(venv, ignore_errors=True)
        if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
            raise ToolError(
                "uv is not on PATH, and this Python can neither make environments nor run pip; "
                "install uv, or your system's packages python3-venv or python3-pip"
            ) from None
        run([sys.executable, "-m", "pip", *wanted, "--target", target], "installing uv")
        return target / "bin" / "uv"
    run([venv / "bin" / "python", "-m", "pip", *wanted], "installing uv")
    return venv / "bin" / "uv"


def _version(uv: Path) -> tuple[int, ...]:
    done = subprocess.run([uv, "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    try:
        return tuple(int(part) for part in words[1].split(".")[:2])
    except (IndexError, ValueError):
        return ()
