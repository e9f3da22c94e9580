"""Writes the SDK of the component package for one language: python tools/package_sdk.py {go,python} FOLDER.

`pulumi package gen-sdk` asks a language host for it, and those that can be built here are older than that question.
This is the same generator, of the CLI's own version.
"""

import sys
from pathlib import Path

import go_build
from common import PROJECT, ToolError, run

MODULE, SCHEMA = PROJECT / "tools" / "pulumi" / "sdk", PROJECT / "modules" / "schema.json"
LANGUAGES = ("go", "python")


def write(language: str, folder: Path) -> None:
    """Fills the folder with the sources that `modules/schema.json` describes."""
    inputs = [MODULE / name for name in ("go.mod", "go.sum", "main.go")]
    built = go_build.cached("package-sdk", inputs, lambda made: go_build.build(MODULE, ".", made / "package-sdk"))
    run([built / "package-sdk", language, SCHEMA, folder], f"generating the SDK for {language}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in LANGUAGES:
        sys.exit(f"usage: {sys.argv[0]} {{{','.join(LANGUAGES)}}} FOLDER")
    try:
        write(sys.argv[1], Path(sys.argv[2]))
    except ToolError as exc:
        sys.exit(f"error: {exc}")
