"""Keys of the deploying machine that a job's or a service's pods read, from a Secret of their own: pure functions."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from penstock.errors import PenstockError
from penstock.kubernetes import kinds
from penstock.kubernetes.pods import KEYS, labels


def contents(folder: Path, files: Sequence[str]) -> dict[str, str]:
    """The keys by the names that they have in pods; `folder` is where relative paths start.

    Raises:
        PenstockError: one cannot be read.
    """
    found: dict[str, str] = {}
    for file in files:
        try:
            found[PurePosixPath(file).name] = (folder / file).read_text()
        except (OSError, UnicodeDecodeError) as exc:
            raise PenstockError(f"the key {file!r} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    return found


def in_pod(file: str) -> str:
    """Where a pod has a key."""
    return f"{KEYS}/{PurePosixPath(file).name}"


def secret(name: str, stack: str, held: dict[str, str]) -> dict[str, Any]:
    """What the keys are kept in, without the keys; its name ends in their digest, so that others are other pods."""
    own = kinds.named_by_content(f"{name}-keys", repr(sorted(held.items())))
    return kinds.secret(own, labels(stack, name, "keys"))
