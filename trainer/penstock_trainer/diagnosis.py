"""Why a loss is no longer a number: the batch, the row and the feature, found by looking at the blocks again."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from penstock_trainer.features import Crossed, parts
from penstock_trainer.network import Network

LARGE = 1e3  # of a scaled feature, whose deviation is about 1


def explain(network: Network, blocks: Sequence[tuple[str, np.ndarray]], stopped: str, start: int) -> str:
    """A sentence that names batch, row and feature.

    `blocks`: path and shuffling seed of every block trained on since the loss was last a number; `stopped` is that of
    them where it was first seen not to be one, at row `start` of its random order.
    """
    largest = ("", 0.0, "")
    for path, seed in blocks:
        cells = tf.transpose(network.shuffled(tf.constant(path), tf.constant(seed, tf.int32)))
        columns = network.columns(cells)
        rows = int(tf.shape(cells)[1])
        inputs = {"the label": cells[-1], **{f"feature {n}": t for n, t in network.featurizer(columns).items()}}
        for name, tensor in inputs.items():
            values = tensor.numpy().astype(np.float64).reshape(rows, -1)
            wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
            if wrong.size:
                row = int(wrong[0])
                place = _place(path, row, network.batch_size)
                return f"{name} is {values[row].max()} in {place}: {_raw(network, columns, name, row)}"
            if path == stopped and name.startswith("feature ") and tensor.dtype.is_floating:
                row = int(np.abs(values).max(axis=1).argmax())
                value = float(np.abs(values[row]).max())
                if value > largest[1]:
                    largest = (name, value, _place(path, row, network.batch_size))
    name, value, place = largest
    found = (
        f"every label and feature is a finite number; it was first seen in {_place(stopped, start, network.batch_size)}"
    )
    if value > LARGE:
        return f"{found}; {name} stands out with {value:.3g} in {place}: scale it by='log', or its outliers are errors"
    return f"{found}: the steps are too large, lower the learning rate's range"


def _place(path: str, row: int, batch_size: int) -> str:
    return f"batch {row // batch_size + 1} of block {path}, row {row % batch_size + 1} of it"


def _raw(network: Network, columns: dict[str, tf.Tensor], name: str, row: int) -> str:
    used = [part for f in network.featurizer.features if f"feature {f.name}" == name for part in parts(f)]
    names = {part.column for part in used if not isinstance(part, Crossed)}
    values = ", ".join(f"{column} = {columns[column].numpy()[row]}" for column in sorted(names))
    return (
        f"there {values}; " if values else ""
    ) + "mend the column, or have `derive` return NaN where it has no value"
