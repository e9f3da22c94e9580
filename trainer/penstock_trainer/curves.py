"""Curves for TensorBoard: event files that chief and evaluator write while they work.

    python -m tensorboard.main --logdir artifacts/curves

One folder a run, one in it a role: `ROOT/curves/<model's key>/<role>`. The horizontal axis is examples in thousands, so
that runs of different batch sizes compare.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from penstock_trainer.progress import Progress


class Curves:
    """What one role writes of one run."""

    def __init__(self, root: Path, key: str, role: str):
        self._folder = root / "curves" / key / role
        self._writer: Any = None  # a file only once there is something to write
        self._last = (time.monotonic(), 0)

    def round(self, progress: Progress) -> None:
        """The training's loss and speed so far."""
        now, (before, trained) = time.monotonic(), self._last
        self._last = (now, progress.trained)
        values = {"training/loss": progress.loss / progress.epoch_trained}
        if trained:
            values["training/examples_per_second"] = (progress.trained - trained) / (now - before)
        self._write(progress, values)

    def evaluated(self, progress: Progress, found: Mapping[str, float]) -> None:
        """The validation rows' metrics."""
        self._write(progress, {f"validation/{name}": value for name, value in found.items() if name != "base_rate"})

    def _write(self, progress: Progress, values: Mapping[str, float]) -> None:
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self._folder))
        with self._writer.as_default(step=progress.trained // 1000):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self._writer.flush()
