"""What the user's cache holds of the programs that only some tests need, asked without building anything."""

from pathlib import Path

import go_build

from cluster import build, controllers

CONTROLLERS = ("kueue", "keda")


class _Absent(Exception):
    """It would have to be built."""


def unbuilt() -> list[str]:
    """The controllers that are not there."""
    return [name for name in CONTROLLERS if not _built(name)]


def _built(name: str) -> bool:
    module = build.SOURCES / name
    inputs = [module / "go.mod", module / "go.sum", Path(controllers.__file__)]
    try:
        go_build.cached(f"kubernetes-{name}", inputs, _refuse)
    except _Absent:
        return False
    return True


def _refuse(_: Path) -> None:
    raise _Absent
