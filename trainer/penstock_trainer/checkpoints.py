"""Checkpoints: sealed folders, so that a torn or half-written one is never taken for good.

Variables are kept by their place in the model, whole or in slices: what parameter servers wrote in shards, any other
number of them reads, or one process does.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from penstock_trainer import artifacts
from penstock_trainer.artifacts import Manifest
from penstock_trainer.errors import InputError

KEPT = 2


class Checkpoints:
    """The checkpoints of one run, in a folder of its own, the newest with the highest number.

    `run` names what is trained (`problem`, `stage`): a checkpoint of anything else is refused.
    """

    def __init__(self, folder: Path, variables: Any, run: Mapping[str, str]):
        self.folder, self.run = folder, dict(run)
        self.checkpoint = tf.train.Checkpoint(variables=variables)

    def save(self, counts: Mapping[str, int], metrics: Mapping[str, Any]) -> Path | None:
        """Write the variables and what has been counted; None, and a word about it, where they cannot be written."""
        number = max((int(path.name) for path in self._all()), default=0) + 1
        partial, final = self.folder / f".{number:06d}", self.folder / f"{number:06d}"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            self.checkpoint.write(str(partial / "variables"))
            # TensorFlow leaves it behind where servers wrote their shards.
            for leftover in partial.glob("*_temp"):
                shutil.rmtree(leftover)
            artifacts.seal(
                partial, kind="checkpoint", inputs={}, code="", parameters=self.run, counts=counts, metrics=metrics
            )
            partial.rename(final)
        except (OSError, tf.errors.OpError) as exc:
            if isinstance(exc, tf.errors.UnavailableError | tf.errors.AbortedError):
                raise  # a server is gone, not the disk
            shutil.rmtree(partial, ignore_errors=True)
            print(f"checkpoint {number} could not be written, the one before stays: {_first_line(exc)}", flush=True)
            return None
        for old in self._all()[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return final

    def newest_name(self) -> str:
        """The name of the newest, whether it holds or not; empty where there is none."""
        return next((path.name for path in reversed(self._all())), "")

    def newest(self) -> tuple[Path, Manifest] | None:
        """The newest checkpoint that holds; says which were passed over, and why.

        Raises:
            InputError: it is one of another run.
        """
        for path in reversed(self._all()):
            try:
                manifest = artifacts.verify(path)
            except InputError as exc:
                print(f"checkpoint {path.name} is passed over: {exc}", flush=True)
                continue
            if manifest.parameters != self.run:
                raise InputError(f"{path} is a checkpoint of {dict(manifest.parameters)}; this run trains {self.run}")
            return path, manifest
        return None

    def restore(self) -> Manifest | None:
        """Put the newest checkpoint that holds into the variables; its manifest, or None where there is none."""
        found = self.newest()
        if found is None:
            return None
        path, manifest = found
        self.checkpoint.read(str(path / "variables")).assert_existing_objects_matched()
        return manifest

    def _all(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("[0-9]*") if path.is_dir())


def _first_line(exc: BaseException) -> str:
    return str(exc).splitlines()[0][:300]
