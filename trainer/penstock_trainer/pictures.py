"""Pictures of raw files, decoded once as the served graph decodes them, and those that cannot be."""

# pyright: reportAttributeAccessIssue=false
# (pyarrow.compute makes its functions at import.)

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
import tensorflow as tf

from penstock_trainer import graph
from penstock_trainer.problem import Image


def encoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The files' bytes; of a structure, as data sets of pictures have them, its field `bytes`. Null is missing."""
    if pt.is_struct(values.type):
        values = pc.struct_field(values, "bytes")
    found = values.cast(pa.binary())
    return pc.if_else(pc.equal(found, b""), pa.scalar(None, pa.binary()), found)


def decode(values: pa.ChunkedArray, column: Image) -> tuple[pa.FixedSizeListArray, np.ndarray]:
    """(The pictures' bytes, `column.bytes` of uint8 a row, null where missing; bool of shape [rows], those that are no
    picture.) `values` are as `encoded` gives them.
    """
    texts = values.fill_null(b"").to_numpy().astype(object)
    bad = np.zeros(len(texts), bool)
    try:
        found = _decoder(column)(texts).numpy()
    except tf.errors.InvalidArgumentError:
        rows = []
        for place, text in enumerate(texts):
            try:
                rows.append(_decoder(column)(texts[place : place + 1]).numpy())
            except tf.errors.InvalidArgumentError:
                bad[place] = text != b""
                rows.append(np.zeros((1, column.bytes), np.uint8))
        found = np.concatenate(rows)
    missing = pa.array(texts == b"")
    return pa.FixedSizeListArray.from_arrays(pa.array(found.ravel()), column.bytes, mask=missing), bad


def brightness(values: pa.Array) -> np.ndarray:
    """The mean of each picture's bytes, from 0 to 1; NaN where missing."""
    there = values.is_valid().to_numpy(zero_copy_only=False)
    found = np.full(len(values), np.nan, np.float32)
    found[there] = values.flatten().to_numpy().reshape(-1, values.type.list_size).mean(axis=1) / 255
    return found


def cells_of(values: pa.ChunkedArray) -> np.ndarray:
    """The bytes as int32 cells of four each, shape [cells, rows], filled up with zeros; missing is zeros."""
    size = values.type.list_size
    rows = np.zeros((len(values), size + -size % 4), np.uint8)
    there = values.is_valid().to_numpy()
    rows[there, :size] = np.concatenate([chunk.flatten().to_numpy() for chunk in values.chunks]).reshape(-1, size)
    return rows.view("<i4").T


def encode(cells: np.ndarray, column: Image) -> np.ndarray:
    """The pictures of int32 cells, shape [rows, cells], as PNG files, which lose nothing; bytes of shape [rows]."""
    rows = np.ascontiguousarray(cells).view(np.uint8)[:, : column.bytes]
    shape = column.height, column.width, column.channels
    return np.array([tf.io.encode_png(row.reshape(shape)).numpy() for row in rows], object)


@cache
def _decoder(column: Image) -> tf.types.experimental.PolymorphicFunction:
    return tf.function(
        lambda encoded: graph.pixels(encoded, column),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
