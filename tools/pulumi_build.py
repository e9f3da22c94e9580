"""Builds the Pulumi CLI and its Python language host from Go modules whose hashes tools/pulumi/*/go.sum pins."""

import shutil
from pathlib import Path

import go_build
from common import PROJECT, say

CLI, LANGUAGE = PROJECT / "tools" / "pulumi" / "cli", PROJECT / "tools" / "pulumi" / "language"
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
    inputs = [folder / name for folder in (CLI, LANGUAGE) for name in ("go.mod", "go.sum")]
    cached = go_build.cached("pulumi", [*inputs, Path(__file__), version], lambda folder: _build(folder, version))
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(cached, target / "bin")


def _build(folder: Path, version: str) -> None:
    say(f"building Pulumi {version} from source, once for this user: 3 to 10 minutes")
    for step, (module, name, package) in enumerate(
        (
            (LANGUAGE, "pulumi-language-python", f"{MODULE}/sdk/v3/python/cmd/pulumi-language-python"),
            (CLI, "pulumi", f"{MODULE}/pkg/v3/cmd/pulumi"),
        ),
        start=1,
    ):
        say(f"  {step} of 2: {name}")
        go_build.build(module, package, folder / name, [f"{VERSION_VARIABLE}=v{version}"])
    sdk = go_build.source(CLI, f"{MODULE}/sdk/v3")
    for script in SCRIPTS:
        copied = folder / Path(script).name
        shutil.copyfile(sdk / script, copied)
        copied.chmod(0o755)
