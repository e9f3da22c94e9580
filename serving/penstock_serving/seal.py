"""A model artifact whose seal holds: the only thing that this server loads."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock_serving.schema import Schema
from penstock_trainer.artifacts import Manifest, verify_lineage
from penstock_trainer.errors import InputError
from penstock_trainer.signing import VerifyingKey


@dataclass(frozen=True)
class SealedModel:
    """A verified artifact: its directory, its digest, the chain of manifests behind it, its schema and sample rows."""

    directory: Path
    digest: str
    chain: Mapping[str, Manifest]
    schema: Schema
    samples: Mapping[str, list[Any]]

    @property
    def saved_model(self) -> Path:
        """The directory of the SavedModel."""
        return self.directory / "saved_model"

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What the trainer measured, as the seal states it."""
        return self.chain["model"].metrics

    @classmethod
    def open(cls, directory: Path, expected_digest: str | None = None, verify_key: Path | None = None) -> "SealedModel":
        """The artifact in `directory`, every file compared with the seal and every link of its chain with its digest;
        with `verify_key`, a public key's PEM file, its signature too.

        Raises:
            InputError: something does not hold, the artifact is no model, or it is not the one expected.
        """
        chain = verify_lineage(directory)
        manifest = chain.get("model")
        if manifest is None:
            raise InputError(f"{directory} is a sealed {Manifest.read(directory).kind}, not a model")
        if verify_key is not None:
            VerifyingKey(verify_key).check(directory, manifest)
        digest = manifest.digest
        if expected_digest is not None and digest != expected_digest:
            raise InputError(f"{directory} has digest {digest}, expected was {expected_digest}")
        schema = Schema.read(directory / "schema.json")
        return cls(directory, digest, chain, schema, _read_samples(directory / "samples.json"))


def add_verify_key(parser: argparse.ArgumentParser) -> None:
    """The argument that states whose models are served."""
    parser.add_argument(
        "--verify-key", type=Path, metavar="PEM", help="refuse a model that the owner of this public key has not signed"
    )


def _read_samples(path: Path) -> dict[str, list[Any]]:
    """The sample rows with the trainer's own answers: `instances` and `predictions`, at least one of each."""
    try:
        samples = json.loads(path.read_bytes())
        rows, answers = samples["instances"], samples["predictions"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise InputError(f"{path} does not hold sample rows with their answers: {exc!r}") from exc
    if not isinstance(rows, list) or not isinstance(answers, list) or not 0 < len(rows) == len(answers):
        raise InputError(f"{path} does not hold as many sample rows as answers, or none")
    return {"instances": rows, "predictions": answers}
