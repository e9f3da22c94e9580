"""A problem's trainable network: featurizer, model function and head, with the step that trains it on one block."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras

from penstock_trainer.examples import Examples
from penstock_trainer.featurizer import Featurizer
from penstock_trainer.models import inputs_for
from penstock_trainer.problem import Problem
from penstock_trainer.ranges import Hyperparameters, resolve
from penstock_trainer.statistics import NumberStatistics, Statistics

shuffle = tf.random.experimental.stateless_shuffle  # pyright: ignore[reportAttributeAccessIssue]


class Network(tf.Module):
    """Variables and functions of one model; make it inside the strategy's scope."""

    def __init__(self, problem: Problem, statistics: Statistics, examples: Examples, hyperparameters: Hyperparameters):
        super().__init__()
        parameters = {n: resolve(v, n, hyperparameters) for n, v in problem.hyperparameters.items()}
        self.strategy = tf.distribute.get_strategy()
        self.head = problem.label.head
        self.examples = examples
        self.batch_size = int(parameters.get("batch_size", 512))
        label = statistics[problem.label.name]
        assert isinstance(label, NumberStatistics)
        # A value is predicted in the label's deviations from its mean, whatever its unit.
        self.center, self.scale = label.mean, label.variance**0.5
        self.featurizer = Featurizer(problem, statistics, hyperparameters)
        specs = self.featurizer.specs()
        inputs = inputs_for(specs)
        self.keras_model = keras.Model(inputs, problem.model(inputs, specs, parameters))
        self.optimizer = keras.optimizers.legacy.Adam(parameters.get("learning_rate", 1e-3))
        # On parameter servers the optimizer's slots must exist before a worker first applies a gradient.
        self.optimizer._create_all_weights(self.keras_model.trainable_variables)  # pyright: ignore[reportAttributeAccessIssue]

    def logits(self, columns: Mapping[str, tf.Tensor], *, training: bool) -> tf.Tensor:
        """float32 of shape [rows] from numbers and codes of shape [rows]."""
        return tf.squeeze(self.keras_model(self.featurizer(columns), training=training), 1)

    def predict(self, columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """What the endpoint answers: a probability or a value, float32 of shape [rows]."""
        logits = self.logits(columns, training=False)
        return tf.sigmoid(logits) if self.head == "binary" else logits * self.scale + self.center

    def loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Of each row: cross-entropy, or squared error in the label's variance; float32 of shape [rows]."""
        if self.head == "binary":
            return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
        return tf.square(logits - (labels - self.center) / self.scale)

    def columns(self, cells: tf.Tensor) -> dict[str, tf.Tensor]:
        """The named columns of block cells [width, rows]."""
        numbers, categories = self.examples.numbers, self.examples.categories
        named = {name: cells[place] for place, name in enumerate(numbers)}
        for place, name in enumerate(categories, start=len(numbers)):
            named[name] = tf.bitcast(cells[place], tf.int32)
        return named

    def read(self, path: tf.Tensor) -> tf.Tensor:
        """A block's cells, float32 of shape [width, rows]; codes are bit patterns until `columns` casts them."""
        return tf.reshape(tf.io.decode_raw(tf.io.read_file(path), tf.float32), [self.examples.width, -1])

    def values(self) -> list[np.ndarray]:
        """The values of the model's variables, whole, from wherever they or their shards are."""
        return [
            np.concatenate([shard.numpy() for shard in variable.variables])
            if hasattr(variable, "variables")
            else variable.numpy()
            for variable in self.keras_model.weights
        ]

    def train_step(self, cells: tf.Tensor) -> tf.Tensor:
        """One step of gradient descent on `cells`, [rows, width]; returns the sum of the rows' losses."""
        cells = tf.transpose(cells)
        variables = self.keras_model.trainable_variables
        with tf.GradientTape() as tape:
            losses = self.loss(self.logits(self.columns(cells), training=True), cells[-1])
            mean = tf.reduce_mean(losses)
        self.optimizer.apply_gradients(zip(tape.gradient(mean, variables), variables, strict=True))
        return tf.reduce_sum(losses)

    def train_block(self, path: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One pass over a block in random order, `batch_size` rows a step; (rows trained on, sum of their losses)."""
        cells = shuffle(tf.transpose(self.read(path)), seed)
        rows = tf.shape(cells)[0]
        total = tf.constant(0.0)
        for start in tf.range(0, rows, self.batch_size):
            total += self.strategy.run(self.train_step, args=(cells[start : start + self.batch_size],))
        return rows, total

    def predict_block(self, path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(labels, predictions) of a block's rows, float32 of shape [rows]."""
        cells = self.read(path)
        return cells[-1], self.predict(self.columns(cells))


def block_paths(dataset: Path, examples: Examples, split: str) -> list[str]:
    """The full paths of a split's blocks."""
    return [str(dataset / block.path) for block in examples.blocks[split]]
