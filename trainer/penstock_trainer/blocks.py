"""How a block of examples gets into a graph: by its path, which whoever runs the graph reads, or by its cells, which
the kernel maps into this process and nobody copies.
"""

from pathlib import Path

import tensorflow as tf

from penstock_trainer.examples import map_block

shuffle = tf.random.experimental.stateless_shuffle  # pyright: ignore[reportAttributeAccessIssue]

PATH = tf.TensorSpec([], tf.string)
MAPPED = tf.TensorSpec([None], tf.float32)


def mapped(path: Path | str) -> tf.Tensor:
    """A block's cells, as `MAPPED` describes them."""
    return tf.experimental.dlpack.from_dlpack(map_block(Path(path)).__dlpack__())


def cells(block: tf.Tensor, width: int) -> tf.Tensor:
    """A block's cells, float32 of shape [width, rows], from `PATH` or `MAPPED`."""
    read = tf.io.decode_raw(tf.io.read_file(block), tf.float32) if block.dtype == tf.string else block
    return tf.reshape(read, [width, -1])


def shuffled(cells: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """The rows of cells [width, rows] in the order that `seed`, int32 of shape [2], gives them; [rows, width]."""
    rows = tf.transpose(cells)
    # The rows themselves, shuffled, would be swapped one by one: the same order, a quarter slower.
    return tf.gather(rows, shuffle(tf.range(tf.shape(rows)[0]), seed))
