"""A problem's trainable network: featurizer, model function and head, with the step that trains it on one block."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from penstock_trainer import blocks
from penstock_trainer.arithmetic import FLOAT32, Arithmetic
from penstock_trainer.errors import InputError
from penstock_trainer.examples import Examples
from penstock_trainer.featurizer import Featurizer
from penstock_trainer.graph import as_written
from penstock_trainer.models import inputs_for
from penstock_trainer.optimizer import LazyAdam
from penstock_trainer.problem import Image, Problem
from penstock_trainer.ranges import Hyperparameters
from penstock_trainer.statistics import NumberStatistics, Statistics

BATCH_SIZE = 512
"""Of a problem that names none."""
SMALL_TABLE = 1 << 16
"""Numbers in an embedding table."""


class Network(tf.Module):
    """Variables and functions of one model; make it inside the strategy's scope."""

    def __init__(
        self,
        problem: Problem,
        statistics: Statistics,
        examples: Examples,
        hyperparameters: Hyperparameters,
        arithmetic: Arithmetic = FLOAT32,
    ):
        super().__init__()
        parameters = problem.parameters(hyperparameters)
        self.strategy = tf.distribute.get_strategy()
        self.head = problem.label.head
        self.examples = examples
        self.batch_size = int(parameters.get("batch_size", BATCH_SIZE))
        label = statistics[problem.label.name]
        assert isinstance(label, NumberStatistics)
        # A value is predicted in the label's deviations from its mean, whatever its unit.
        self.center, self.scale = label.mean, label.variance**0.5
        self.featurizer = Featurizer(problem, statistics, hyperparameters)
        specs = self.featurizer.specs()
        inputs = inputs_for(specs)
        outputs = problem.label.outputs
        with _policy(arithmetic.precision):
            logits = problem.model(inputs, specs, {**parameters, "outputs": outputs})
        if logits.shape[-1] != outputs:
            raise InputError(
                f"the model of problem {problem.name!r} returns {logits.shape[-1]} logits a row, the label "
                f"{problem.label.name!r} ({self.head}) needs {outputs}: parameters['outputs']"
            )
        self.keras_model = keras.Model(inputs, logits)
        layers = (each for each in self.keras_model.submodules if isinstance(each, keras.layers.Layer))
        self.autograph = any(not type(layer).__module__.startswith("tf_keras.") for layer in layers)
        """Whether what runs the model needs it: layers of the problem's own may have conditions on tensors."""
        compiled = tf.function(self._gradients, jit_compile=True, autograph=self.autograph)
        self._compiled = compiled if arithmetic.xla else None
        self.optimizer = LazyAdam(parameters.get("learning_rate", 1e-3))
        # On parameter servers the optimizer's slots must exist before a worker first applies a gradient.
        self.optimizer._create_all_weights(self.keras_model.trainable_variables)  # pyright: ignore[reportAttributeAccessIssue]

    @as_written
    def inputs(self, cells: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """(the features of rows, [rows, width], by name, their labels)."""
        columns = tf.transpose(cells)
        return self.featurizer(self.columns(columns)), columns[-1]

    def logits(self, inputs: Mapping[str, tf.Tensor], *, training: bool) -> tf.Tensor:
        """float32 of shape [rows], of several classes [rows, classes], from the features."""
        logits = tf.cast(self.keras_model(inputs, training=training), tf.float32)
        return logits if self.head == "multiclass" else tf.squeeze(logits, 1)

    def predict(self, columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """What the endpoint answers: a probability or a value, float32 of shape [rows]; of several classes the
        probability of each, [rows, classes].
        """
        logits = self.logits(self.featurizer(columns), training=False)
        if self.head == "multiclass":
            return tf.nn.softmax(logits)
        return tf.sigmoid(logits) if self.head == "binary" else logits * self.scale + self.center

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Of each row: cross-entropy, or squared error in the label's variance; float32 of shape [rows]."""
        if self.head == "binary":
            return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
        if self.head == "multiclass":
            return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
        return tf.square(logits - (labels - self.center) / self.scale)

    @as_written
    def columns(self, cells: tf.Tensor) -> dict[str, tf.Tensor]:
        """The named columns of block cells [width, rows]; those of several cells are [rows, tokens or bytes]."""
        numbers, categories = self.examples.numbers, self.examples.categories
        named = {name: cells[place] for place, name in enumerate(numbers)}
        for place, name in enumerate(categories, start=len(numbers)):
            named[name] = tf.bitcast(cells[place], tf.int32)
        place = len(numbers) + len(categories)
        for name, count in self.examples.cells.items():
            several = tf.transpose(cells[place : place + count])
            place += count
            column = self.featurizer.columns[name]
            if isinstance(column, Image):
                named[name] = tf.reshape(tf.bitcast(several, tf.uint8), [-1, 4 * count])[:, : column.bytes]
            else:
                named[name] = tf.ensure_shape(tf.bitcast(several, tf.int32), [None, count])
        return named

    def read(self, block: tf.Tensor) -> tf.Tensor:
        """The cells of a block of either form that `blocks` has, float32 of shape [width, rows]; codes are bit patterns
        until `columns` casts them.
        """
        return blocks.cells(block, self.examples.width)

    def values(self) -> list[np.ndarray]:
        """The values of the model's variables, whole, from wherever they or their shards are."""
        return [
            np.concatenate([shard.numpy() for shard in variable.variables])
            if hasattr(variable, "variables")
            else variable.numpy()
            for variable in whole(self.keras_model.weights)
        ]

    def train_step(self, inputs: Mapping[str, tf.Tensor], labels: tf.Tensor) -> tf.Tensor:
        """One step of gradient descent on rows' features and labels, of which each replica takes a share; returns the
        sum of the rows' losses, which is NaN where a loss or gradient is no number.
        """
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync
        rows = tf.shape(labels)[0]
        if replicas > 1:
            own = slice(context.replica_id_in_sync_group, None, replicas)
            inputs, labels = {name: tensor[own] for name, tensor in inputs.items()}, labels[own]
        variables = self.keras_model.trainable_variables
        if self._compiled is None:
            gradients, total = self._gradients(inputs, labels, rows)
        else:
            # XLA compiles anew for every number of rows: the batch that ends a block is left to TensorFlow.
            compiled = self._compiled
            gradients, total = tf.cond(
                rows == self.batch_size,
                lambda: compiled(inputs, labels, rows),
                lambda: self._gradients(inputs, labels, rows),
            )
        if replicas > 1:
            # Dense: gathering rows of different numbers from each replica breaks within a loop of steps.
            dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
            *dense, total = context.all_reduce(tf.distribute.ReduceOp.SUM, [*dense, total])
            gradients = [
                _rows_in_use(summed) if isinstance(gradient, tf.IndexedSlices) else summed
                for gradient, summed in zip(gradients, dense, strict=True)
            ]
        self.optimizer.apply_gradients(
            zip(gradients, variables, strict=True), experimental_aggregate_gradients=replicas == 1
        )
        # A rectifier makes 0 of what is no number, so that the loss alone would hide it; the gradients do not.
        return total + 0.0 * tf.linalg.global_norm(gradients)

    def _gradients(
        self, inputs: Mapping[str, tf.Tensor], labels: tf.Tensor, rows: tf.Tensor
    ) -> tuple[list[Any], tf.Tensor]:
        """(of each variable the gradient of the rows' losses divided by `rows`, the sum of the losses)."""
        with tf.GradientTape() as tape:
            losses = self.loss(self.logits(inputs, training=True), labels)
            # The replicas' gradients are added up: divided by all rows, they are those of one process.
            mean = tf.reduce_sum(losses) / tf.cast(rows, tf.float32)
        gradients = tape.gradient(mean, self.keras_model.trainable_variables)
        return [_dense_if_small(gradient) for gradient in gradients], tf.reduce_sum(losses)

    def train(self, cells: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One pass over rows, [rows, width], `batch_size` of them a step.

        Returns (sum of their losses, the first row of the batch where that was no number and it stopped, or -1).
        """
        # At once: an operation on a block costs little more than one on a batch.
        inputs, labels = self.inputs(cells)
        total, bad = tf.constant(0.0), tf.constant(-1)
        # Steps that overlap would mix up their collective operations; one replica alone is faster when they do.
        overlapping = 1 if self.strategy.num_replicas_in_sync > 1 else 10
        step = self.train_step if self.autograph else as_written(self.train_step)
        for start in tf.range(0, tf.shape(cells)[0], self.batch_size):
            tf.autograph.experimental.set_loop_options(parallel_iterations=overlapping)
            end = start + self.batch_size
            batch = {name: tensor[start:end] for name, tensor in inputs.items()}
            loss = self.strategy.run(step, args=(batch, labels[start:end]))
            total += self.strategy.experimental_local_results(loss)[0]
            if not tf.math.is_finite(total):
                bad = start
                break
        return total, bad

    @as_written
    def shuffled(self, block: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The rows of a block, as `read` takes it, in the order that `seed`, int32 of shape [2], gives them; [rows,
        width].
        """
        return blocks.shuffled(self.read(block), seed)

    def state(self) -> list[Any]:
        """All that a training goes on from: the model's variables, the optimizer's slots and its count of steps.

        Slots of a variable in shards are put together as it is, so that any other number of shards can take them.
        """
        slots: list[Any] = []
        for variable in whole(self.keras_model.trainable_variables):
            for name in self.optimizer.get_slot_names():
                if hasattr(variable, "variables"):
                    shards = [self.optimizer.get_slot(shard, name) for shard in variable.variables]
                    slots.append(type(variable)(shards, name=f"{variable.name}_{name}"))
                else:
                    slots.append(self.optimizer.get_slot(variable, name))
        return [*self.model_state(), *slots, self.optimizer.iterations]

    def model_state(self) -> list[Any]:
        """The first of `state`: what is needed to predict."""
        return whole(self.keras_model.weights)

    def predict_block(self, block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(labels, predictions) of the rows of a block, as `read` takes it, float32 of shape [rows]; predictions as
        `predict` gives them.
        """
        cells = self.read(block)
        return cells[-1], self.predict(self.columns(cells))


@contextmanager
def _policy(precision: str) -> Iterator[None]:
    """Keras layers that are made within compute in this precision."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(precision)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def whole(variables: Sequence[Any]) -> list[Any]:
    """The variables, with those that are shards of one, which Keras lists one by one, as that one."""
    found: dict[int, Any] = {}
    for variable in variables:
        container = getattr(variable, "_sharded_container", None)
        one = container() if container else variable
        found[id(one)] = one
    return list(found.values())


def block_paths(dataset: Path, examples: Examples, split: str) -> list[str]:
    """The full paths of a split's blocks."""
    return [str(dataset / block.path) for block in examples.blocks[split]]


def _dense_if_small(gradient: Any) -> Any:
    """The gradient of a small table as a whole: sent in one piece and applied by one operation, it costs less than its
    rows, each of which is sent with its place, looked for among the others and applied by a dozen operations.
    """
    if isinstance(gradient, tf.IndexedSlices) and gradient.shape.num_elements() <= SMALL_TABLE:
        return tf.convert_to_tensor(gradient)
    return gradient


def _rows_in_use(gradient: tf.Tensor) -> tf.IndexedSlices:
    """Of a large table's gradient the rows that are not 0, as one process has them."""
    rows = tf.where(tf.reduce_any(gradient != 0, axis=1))[:, 0]
    return tf.IndexedSlices(tf.gather(gradient, rows), rows, tf.shape(gradient, tf.int64))
