"""The artifact store of a local stack: a folder, emptied with the stack but for what is to be kept."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from penstock.local import engine


class LocalStorageProvider(engine.Provider):
    """Makes the folder, and empties it; pickled by reference, so it keeps no attributes of its own."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another folder is another store; what to keep only matters at the end."""
        moved = _olds["folder"] != _news["folder"]
        gone = not Path(_olds["root"]).is_dir()
        return DiffResult(changes=moved or gone or _olds["keep"] != _news["keep"], replaces=["folder"] if moved else [])

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Makes the folder."""
        return CreateResult(props["folder"], _make(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Makes the folder again where it is gone."""
        return UpdateResult(_make(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Removes the stack's folder: jobs, logs, and every artifact that is not to be kept."""
        remove(Path(_props["folder"]), _props["keep"])


class LocalStorage(Resource, module="penstock", name="LocalStorage"):
    """The folder `.penstock/<stack>` and the artifact store in it."""

    root: pulumi.Output[str]
    """Root of the artifact store: `<root>/<kind>/<key>` is one artifact."""

    def __init__(self, name: str, folder: Path, keep: Sequence[str], opts: pulumi.ResourceOptions) -> None:
        props = {"folder": str(folder), "keep": sorted(keep), "root": None}
        super().__init__(LocalStorageProvider(), name, props, opts)


def remove(folder: Path, keep: Sequence[str]) -> None:
    """Empties a stack's folder but for the sealed artifacts of the kinds to keep."""
    store = folder / "artifacts"
    for kind in _children(store):
        for artifact in _children(kind) if kind.name in keep else []:
            # Half-written, hence of no use to anybody.
            if not (artifact / "manifest.json").is_file():
                _remove_tree(artifact)
        if kind.name not in keep or not _children(kind):
            _remove_tree(kind)
    for entry in _children(folder):
        if entry != store or not _children(store):
            _remove_tree(entry)
    if folder.is_dir() and not _children(folder):
        folder.rmdir()


def _make(props: dict[str, Any]) -> dict[str, Any]:
    root = Path(props["folder"]) / "artifacts"
    root.mkdir(parents=True, exist_ok=True)
    return {**props, "root": str(root)}


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _remove_tree(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
