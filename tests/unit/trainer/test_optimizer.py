"""Adam for large tables, beside Keras' own."""

import numpy as np
import tensorflow as tf
import tf_keras as keras

from penstock_trainer.optimizer import LazyAdam


def trained(optimizer, batches):
    """A table of 5 rows after a step on the rows of each batch, and its two moments."""
    table = tf.Variable(tf.reshape(tf.linspace(-1.0, 1.0, 15), [5, 3]))
    for rows in batches:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((tf.gather(table, rows) - 3) ** 2)
        optimizer.apply_gradients([(tape.gradient(loss, table), table)])
    return [table.numpy(), *(optimizer.get_slot(table, name).numpy() for name in ("m", "v"))]


def test_a_table_whose_rows_are_all_used_in_every_step_is_trained_as_by_adam():
    batches = [[0, 1, 2, 3, 4, 4], [3, 2, 2, 1, 0, 4], [4, 3, 2, 1, 0, 0]]
    lazily, fully = (trained(kind(0.1), batches) for kind in (LazyAdam, keras.optimizers.legacy.Adam))
    for mine, its in zip(lazily, fully, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-6)


def test_a_row_that_a_step_does_not_use_waits_with_its_moments():
    table, mean, square = trained(LazyAdam(0.1), [[0, 1], [0, 3]])
    once, its_mean, its_square = trained(LazyAdam(0.1), [[0, 1]])
    np.testing.assert_array_equal(table[[1, 2, 4]], once[[1, 2, 4]])
    np.testing.assert_array_equal(mean[1], its_mean[1])
    np.testing.assert_array_equal(square[1], its_square[1])
    assert (table[[0, 3]] != once[[0, 3]]).all()
    assert not mean[[2, 4]].any()
