"""Keys of the deploying machine that a job's or a service's pods read, from a Secret of their own."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pulumi

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


def secret(name: str, stack: str, folder: Path, files: Sequence[str]) -> dict[str, Any] | None:
    """The manifest that holds the keys, if there are any; its name ends in their digest, so that others are other pods.

    Raises:
        PenstockError: one cannot be read.
    """
    if not files:
        return None
    held = contents(folder, files)
    own = kinds.named_by_content(f"{name}-keys", repr(sorted(held.items())))
    return {**kinds.secret(own, labels(stack, name, "keys")), "stringData": pulumi.Output.secret(held)}
