"""Adam for tables larger than what a step uses of them."""

from typing import Any

import tensorflow as tf
import tf_keras as keras


class LazyAdam(keras.optimizers.legacy.Adam):
    """Adam that changes of a table, and of its two moments, the rows that a step has a gradient for, and no others.

    Keras' own lets all moments decay and moves all rows in every step: as many reads and writes as the table is large.
    Here a row's moments wait until it is used again, and a step costs what its rows cost. Gradients that are whole
    tensors are applied as by Keras.
    """

    def _resource_apply_sparse(self, grad: Any, var: Any, indices: Any, apply_state: Any = None) -> Any:
        """`grad`: [rows, dimension], for the distinct rows `indices` of `var`."""
        place = var.device, var.dtype.base_dtype
        with_decay = (apply_state or {}).get(place) or self._fallback_apply_state(*place)
        mean, square = self.get_slot(var, "m"), self.get_slot(var, "v")
        means = tf.gather(mean, indices) * with_decay["beta_1_t"] + grad * with_decay["one_minus_beta_1_t"]
        squares = tf.gather(square, indices) * with_decay["beta_2_t"] + grad * grad * with_decay["one_minus_beta_2_t"]
        change = with_decay["lr"] * means / (tf.sqrt(squares) + with_decay["epsilon"])
        return tf.group(
            self._resource_scatter_update(mean, indices, means),
            self._resource_scatter_update(square, indices, squares),
            self._resource_scatter_add(var, indices, -change),
        )
