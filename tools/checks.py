"""What `make test` runs: lint, types, and every suite in the environment it belongs to. All are run, whatever fails."""

import os
import subprocess
import sys
import time
from pathlib import Path

import engine_environment
import pulumi_cli
from common import PROJECT, ToolError

INFRASTRUCTURE = PROJECT / ".venv" / "bin"
CHECKS: tuple[tuple[str, Path, tuple[str, ...]], ...] = (
    ("lint", INFRASTRUCTURE, ("ruff", "check", ".")),
    ("format", INFRASTRUCTURE, ("ruff", "format", "--check", ".")),
    ("types: infrastructure", INFRASTRUCTURE, ("pyright",)),
    ("types: trainer", INFRASTRUCTURE, ("pyright", "--project", "tools/pyright/trainer.json")),
    ("types: serving", INFRASTRUCTURE, ("pyright", "--project", "tools/pyright/serving.json")),
    ("unit: modules", INFRASTRUCTURE, ("pytest", "-q", "tests/unit/modules")),
    ("unit: trainer", PROJECT / "trainer/.venv/bin", ("pytest", "-q", "tests/unit/trainer")),
    ("unit: serving", PROJECT / "serving/.venv/bin", ("pytest", "-q", "tests/unit/serving")),
    ("contract", PROJECT / "serving/.venv/bin", ("pytest", "-q", "tests/contract")),
    ("google cloud", INFRASTRUCTURE, ("pytest", "-q", "tests/google")),
    ("engine and infra", INFRASTRUCTURE, ("pytest", "-q", "tests/engine", "tests/infra")),
)


def main() -> int:
    """Runs the checks whose names contain the words given, or all; the number that failed."""
    cli = pulumi_cli.find()
    if cli is None:
        raise ToolError("the Pulumi CLI is missing; `make test` prepares it")
    failed: list[str] = []
    for name, folder, (tool, *arguments) in CHECKS:
        if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
            continue
        paths = [argument for argument in arguments if argument.startswith("tests/")]
        if paths and not any((PROJECT / path).exists() for path in paths):
            continue
        print(f"== {name}", flush=True)
        begin = time.monotonic()
        done = subprocess.run(
            [folder / "python", "-m", tool, *arguments], cwd=PROJECT, env=_environment(cli), check=False
        )
        print(f"== {name}: {'ok' if done.returncode == 0 else 'FAILED'} ({time.monotonic() - begin:.0f} s)", flush=True)
        if done.returncode != 0:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return len(failed)


def _environment(cli: pulumi_cli.PulumiCli) -> dict[str, str]:
    """The engine tests bring their own state; from here they have the CLI."""
    own = engine_environment.variables(cli)
    wanted = ("PATH", "PULUMI_SKIP_UPDATE_CHECK", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION")
    return {**os.environ, **{name: own[name] for name in wanted if name in own}}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ToolError as exc:
        sys.exit(f"error: {exc}")
