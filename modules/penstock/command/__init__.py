"""The command `penstock`: what operating a stack takes beside plain `pulumi`. It needs the extra `command`."""

import sys


def main() -> None:
    """The console script."""
    try:
        from penstock.command.app import run
    except ModuleNotFoundError as exc:
        if exc.name not in ("typer", "rich", "pytest", "testinfra"):
            raise
        sys.exit(f"error: the package {exc.name} is missing: `pip install 'penstock[command]'`")
    sys.exit(run())
