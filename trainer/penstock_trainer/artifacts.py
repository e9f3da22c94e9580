"""Sealed artifacts: a directory whose `manifest.json`, written last, lists every file with its SHA-256.

Part of the light core: imports nothing but the standard library.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from penstock_trainer.errors import InputError

FORMAT = 1
MANIFEST = "manifest.json"
SIGNATURE = "signature.json"  # says who sealed the artifact: it signs the manifest and is not part of it
FOLDERS = {
    "raw": "raw",
    "dataset": "dataset",
    "study": "study",
    "model": "models",
    "predictions": "predictions",
    "decision": "decisions",
}


def canonical_json(value: Any) -> bytes:
    """The one spelling of a JSON value that digests are taken of: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest_of(value: Any) -> str:
    """`sha256:<hex>` of a JSON value's canonical spelling."""
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()


def file_digest(path: Path) -> str:
    """`sha256:<hex>` of a file's bytes."""
    with path.open("rb") as file:
        return stream_digest(file)


def stream_digest(file: Any) -> str:
    """`sha256:<hex>` of what is left to read of an open file."""
    sha = hashlib.sha256()
    while chunk := file.read(1 << 20):
        sha.update(chunk)
    return "sha256:" + sha.hexdigest()


def file_digests(directory: Path) -> dict[str, str]:
    """The digest of every file below `directory` but its manifest, by its path relative to it."""
    return {path: file_digest(full) for path, full in _files(directory)}


def folder_digest(files: Mapping[str, str], folder: str) -> str:
    """`sha256:<hex>` of the files below `folder`, from the digests of all files as a manifest lists them."""
    return digest_of({path: digest for path, digest in files.items() if path.startswith(f"{folder}/")})


@dataclass(frozen=True)
class Manifest:
    """The seal of one artifact; its own digest is what the next stage records as its input."""

    kind: str
    files: Mapping[str, str]
    inputs: Mapping[str, str]
    code: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    image: str | None = None
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the canonical manifest."""
        return digest_of(asdict(self))

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """The manifest of an artifact, its files unchecked; raises as `read_file` does."""
        return cls.read_file(directory / MANIFEST)

    @classmethod
    def read_file(cls, path: Path) -> "Manifest":
        """The manifest in the file `path`, what it lists unchecked.

        Raises:
            InputError: there is no such file, or it is not a manifest that this release reads.
        """
        try:
            manifest = cls(**json.loads(path.read_bytes()))
            manifest.digest  # noqa: B018 - raises where a field cannot be part of one
        except FileNotFoundError as exc:
            raise InputError(f"{path.parent} is no sealed artifact: it has no {path.name}") from exc
        except (ValueError, TypeError) as exc:
            raise InputError(f"{path} is not a manifest: {exc}") from exc
        if manifest.format != FORMAT:
            raise InputError(f"{path} has format {manifest.format}; this release reads format {FORMAT}")
        if not isinstance(manifest.files, dict) or not isinstance(manifest.inputs, dict):
            raise InputError(f"{path} is not a manifest: `files` and `inputs` are objects")
        return manifest


def verify(directory: Path) -> Manifest:
    """The manifest of `directory`, after comparing every file in it with its SHA-256.

    Raises:
        InputError: the manifest is missing, or names a file that is missing, changed, or not listed.
    """
    manifest = Manifest.read(directory)
    for wrong in mismatches(directory, manifest):
        raise InputError(wrong)
    return manifest


def mismatches(directory: Path, manifest: Manifest) -> Iterator[str]:
    """What in `directory` is not as `manifest` says, file by file, in words."""
    present = {path for path, _ in _files(directory)}
    for path in sorted(manifest.files.keys() | present):
        if path not in manifest.files:
            yield f"{directory / path} is not listed in {MANIFEST}: the artifact was changed after it was sealed"
        elif path not in present:
            yield f"{directory / path} is missing: the artifact was changed after it was sealed"
        elif (found := file_digest(directory / path)) != manifest.files[path]:
            yield f"{directory / path} has digest {found}, the seal says {manifest.files[path]}"


def verify_lineage(directory: Path) -> dict[str, Manifest]:
    """The manifests behind an artifact, by kind, its own included, once every file is verified and each link compared
    with the digest that names it.

    Raises:
        InputError: the seal or a link of the chain back to the raw files does not hold.
    """
    chain = lineage(directory, verify(directory))
    for wrong in broken_links(directory, chain):
        raise InputError(wrong)
    return chain


def lineage(directory: Path, manifest: Manifest) -> dict[str, Manifest]:
    """The artifact's own manifest and those in its `lineage/`, by kind, unchecked."""
    chain = {manifest.kind: manifest}
    for path in sorted((directory / "lineage").glob("*.json")):
        chain[path.stem] = Manifest.read_file(path)
    return chain


def broken_links(directory: Path, chain: Mapping[str, Manifest]) -> Iterator[str]:
    """What in a chain of manifests is not what the others name as their input, in words."""
    for kind, manifest in chain.items():
        for name, digest in manifest.inputs.items():
            if name not in chain:
                yield f"{directory}: the {kind} was made from a {name} whose manifest lineage/ lacks"
            elif chain[name].digest != digest:
                yield f"{directory}: the {kind} was made from {name} {digest}, its lineage holds {chain[name].digest}"


@contextmanager
def building(root: Path, kind: str, key: str) -> Iterator[Path]:
    """A fresh directory to write an artifact into; moved to `root/<kind's folder>/<key>` once it holds a manifest.

    Whatever an earlier, broken run left under that key is removed first. The directory is made beside its destination,
    so that the final move is one atomic rename.
    """
    final = artifact_path(root, kind, key)
    partial = final.with_name(f".{final.name}.partial")
    for leftover in (partial, final):
        if leftover.exists():
            shutil.rmtree(leftover)
    partial.mkdir(parents=True)
    try:
        yield partial
    except Exception:
        shutil.rmtree(partial, ignore_errors=True)  # on a full disk it would be in the way of the next run
        raise
    partial.rename(final)


def seal(
    directory: Path,
    *,
    kind: str,
    inputs: Mapping[str, str],
    code: str,
    parameters: Mapping[str, Any] | None = None,
    counts: Mapping[str, int] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write `directory`'s manifest, last and atomically, and return it."""
    manifest = Manifest(
        kind=kind,
        files=file_digests(directory),
        inputs=dict(inputs),
        code=code,
        parameters=dict(parameters or {}),
        counts=dict(counts or {}),
        metrics=dict(metrics or {}),
    )
    write_atomically(directory / MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True).encode())
    return manifest


def find(root: Path, kind: str, key: str) -> Manifest | None:
    """The verified artifact under `key`, or None when there is none that holds."""
    try:
        return verify(artifact_path(root, kind, key))
    except InputError:
        return None


def artifact_path(root: Path, kind: str, key: str) -> Path:
    """Where the artifact of this kind and key lives."""
    return root / FOLDERS[kind] / key


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` so that a reader sees all of it or nothing, also after a power cut."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    """Every file below `directory` but its manifest and signature: (path relative to it with forward slashes, full
    path), sorted.
    """
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory).as_posix()
        if path.is_file() and relative not in (MANIFEST, SIGNATURE):
            yield relative, path
