"""A model from another environment, found and fetched by its digest alone."""

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from penstock.errors import StageFailed
from penstock.gcp.storage_api import Storage
from penstock.local import engine
from penstock.local.fingerprint import canonical_digest

SIGNATURE = "signature.json"
"""Says beside a manifest whose the artifact is."""


class PromotedModelProvider(engine.Provider):
    """Copies a sealed model between buckets; pickled by reference, so it keeps no attributes of its own."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another digest is another model."""
        return DiffResult(changes=any(_olds.get(key) != _news.get(key) for key in ("digest", "source", "target")))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Fetches the model."""
        return CreateResult(props["digest"], {**props, "folder": fetch(Storage(), props)})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Fetches another one; the one before stays, for a way back."""
        return UpdateResult({**_news, "folder": fetch(Storage(), _news)})


class PromotedModel(Resource, module="penstock", name="PromotedModel"):
    """A sealed model in the environment's own bucket."""

    folder: pulumi.Output[str]
    """Its folder in the bucket: `models/<key>`."""

    def __init__(
        self,
        name: str,
        digest: str,
        source: pulumi.Input[str],
        target: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"digest": digest, "source": source, "target": target, "folder": None}
        super().__init__(PromotedModelProvider(), name, props, opts)


def fetch(storage: Storage, props: dict[str, Any]) -> str:
    """Copies the model with the digest, its seal last; what is there already is not copied again."""
    digest, source, target = props["digest"], props["source"], props["target"]
    folder = find(storage, source, digest)
    signature = f"{folder}/{SIGNATURE}"
    # No manifest lists it, and it may have come after the model.
    if storage.json(source, signature) not in (None, storage.json(target, signature)):
        storage.copy(source, signature, target)
    if storage.json(target, f"{folder}/manifest.json") is not None:
        return folder
    manifest: dict[str, dict[str, str]] = storage.json(source, f"{folder}/manifest.json")
    for file in sorted(manifest["files"]):
        storage.copy(source, f"{folder}/{file}", target)
    storage.copy(source, f"{folder}/manifest.json", target)
    return folder


def find(storage: Storage, bucket: str, digest: str) -> str:
    """The folder of the model with a digest."""
    seals = [
        name for name in storage.names(bucket, "models/") if name.endswith("/manifest.json") and name.count("/") == 2
    ]
    for name in seals:
        if canonical_digest(storage.json(bucket, name)) == digest:
            return name.removesuffix("/manifest.json")
    raise StageFailed(f"no model in gs://{bucket} has the digest {digest}; {len(seals)} models are there")
