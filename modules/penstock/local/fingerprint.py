"""Cheap digests of what a stage's result depends on, so that a run without changes starts nothing."""

import glob
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from penstock.errors import PenstockError

READ_WHOLE_BYTES = 1_000_000
"""Up to here a file counts by its content; above, by size and modification time."""


def of_sources(places: Iterable[Path], runs_with: Path | list[str]) -> str:
    """The digest of the Python files of packages (or of single ones), and of what they run with: their lock file, or
    the distributions that are installed.
    """
    files = sorted(path for place in places for path in ([place] if place.is_file() else place.rglob("*.py")))
    contents = [[str(path), _content(path)] for path in files]
    return _digest([*contents, [str(runs_with), _content(runs_with)] if isinstance(runs_with, Path) else runs_with])


def of_files(patterns: Iterable[str], base: Path) -> str:
    """The digest of all files that the patterns (file, folder or glob) name; relative ones start at `base`."""
    return _digest([_stamp(path) for pattern in patterns for path in _matches(pattern, base)])


def manifest_digest(artifact: Path) -> str | None:
    """The digest of a sealed artifact, as its manifest tells it; None when there is no whole manifest."""
    try:
        manifest = json.loads((artifact / "manifest.json").read_text())
    except (OSError, ValueError):
        return None
    return canonical_digest(manifest)


def canonical_digest(manifest: Any) -> str:
    """The digest of an artifact whose manifest this is."""
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _matches(pattern: str, base: Path) -> list[Path]:
    path = base / Path(pattern).expanduser()
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file())
    else:
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    if not found:
        raise PenstockError(
            f"no file matches {pattern!r} (looked for {path}); give an existing file, folder or pattern"
        )
    return found


def _stamp(path: Path) -> list[Any]:
    stat = path.stat()
    if stat.st_size <= READ_WHOLE_BYTES:
        return [str(path), _content(path)]
    return [str(path), stat.st_size, stat.st_mtime_ns]


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(value: Any) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(value).encode()).hexdigest()
