"""What the tools share: where things are, how they speak, how they run others."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
TOOLS = PROJECT / ".tools"


class ToolError(Exception):
    """What is missing or wrong, for the person who ran the command."""


def say(message: str) -> None:
    """A line for a person; standard output is kept for results."""
    print(f"penstock: {message}", file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path], doing: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Runs a command that is silent unless it fails; then its last lines tell why."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            cwd=cwd,
        )
    except OSError as exc:
        raise ToolError(f"{doing}: cannot run {command[0]}: {exc.strerror}") from exc
    if done.returncode != 0:
        tail = "\n".join(f"    {line}" for line in done.stdout.splitlines()[-15:])
        raise ToolError(f"{doing} failed (exit code {done.returncode}):\n{tail}")


def digest(*parts: Path | str) -> str:
    """A digest of files' contents and of texts."""
    total = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else part.encode()
        total.update(len(content).to_bytes(8, "big") + content)
    return total.hexdigest()
