"""The training loop: every example of every epoch at least once, on any cluster.

An epoch is a random order of the dataset's blocks, worked on in rounds of a second or two. After a round all its steps
are in the variables: then a checkpoint may be written.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from penstock_trainer import diagnosis, metrics
from penstock_trainer.arithmetic import FLOAT32, Arithmetic
from penstock_trainer.clusters import Cluster
from penstock_trainer.dataset import Dataset
from penstock_trainer.errors import InputError
from penstock_trainer.evaluation import tally
from penstock_trainer.network import Network, block_paths
from penstock_trainer.problem import Problem
from penstock_trainer.progress import Epoch, Progress
from penstock_trainer.ranges import Hyperparameters
from penstock_trainer.statistics import NumberStatistics

ROUND_SECONDS = 1.5


class Trainer:
    """One network in training on a dataset, on a cluster; `progress` says how far it is."""

    def __init__(
        self,
        problem: Problem,
        dataset: Dataset,
        cluster: Cluster,
        hyperparameters: Hyperparameters,
        seed: int,
        arithmetic: Arithmetic = FLOAT32,
    ):
        self.dataset, self.cluster, self.seed, self.arithmetic = dataset, cluster, seed, arithmetic
        self.problem = problem
        self.progress = Progress()
        tf.keras.utils.set_random_seed(seed)
        with cluster.variables():
            self.network = Network(problem, dataset.statistics, dataset.examples, hyperparameters, arithmetic)
        # Few, as each is a message to a parameter server: examples begun, trained, and the sum of their losses.
        self._counts, self._bad = cluster.counters(3, tf.float64), cluster.counters(1, tf.int64)
        order, number = tf.TensorSpec([2], tf.int32), tf.TensorSpec([], tf.int32)
        self._train = tf.function(self._train_block, input_signature=[cluster.block, order, number])
        self.answer_by(self.network)
        self._blocks_a_round = cluster.width

    def epochs(self, count: int, after_round: Callable[[], None] = lambda: None) -> Iterator[Epoch]:
        """Train until `count` epochs are done, every training example in each at least once; yield after each.

        `after_round` is called every second or so, when all steps so far are in the variables.

        Raises:
            InputError: the loss or its gradient is no longer a number.
        """
        blocks = self.dataset.examples.blocks["training"]
        while self.progress.epoch < count:
            number, began = self.progress.epoch + 1, time.monotonic()
            before = self.progress.steps.copy()
            order = np.random.default_rng([self.seed, number]).permutation(len(blocks))
            while self.progress.blocks < len(order):
                first = self.progress.blocks
                self._round(number, [int(place) for place in order[first : first + self._blocks_a_round]])
                after_round()
            examples, seconds = self.progress.epoch_trained, time.monotonic() - began
            loss = self.progress.loss / examples
            if examples < self.dataset.examples.rows("training"):
                raise RuntimeError(f"epoch {number} trained on {examples} examples only")
            self.progress.epoch, self.progress.blocks = number, 0
            self.progress.loss, self.progress.epoch_trained = 0.0, 0
            by = dict(self.progress.steps - before)
            validation = self.evaluate("validation") if self.cluster.leads else {}
            yield Epoch(number, examples, sum(by.values()), by, loss, seconds, validation)

    def _round(self, number: int, places: list[int]) -> None:
        """Train on the blocks at `places`, and count what that did."""
        blocks = self.dataset.examples.blocks["training"]
        work = [(str(self.dataset.path / blocks[i].path), np.array([number, i], np.int32)) for i in places]
        began = time.monotonic()
        for counters in (self._counts, self._bad):
            counters.assign(tf.zeros_like(counters))
        arguments = [(path, tf.constant(seed), tf.constant(i)) for i, (path, seed) in enumerate(work)]
        try:
            done_by = self.cluster.each(self._train, arguments)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as exc:
            if not self.arithmetic.xla or "compil" not in str(exc):
                raise
            why = str(exc).splitlines()[0][:300]
            raise InputError(f"XLA cannot compile this model's steps, train without it: {why}") from exc
        begun, trained, loss = self._counts.numpy()
        (stopped,) = self._bad.numpy()
        if stopped:
            place, start = divmod(int(stopped) - 1, 1 << 32)
            why = diagnosis.explain(self.network, work, work[place][0], start)
            raise InputError(f"epoch {number}: the loss or its gradient is no longer a number: {why}")
        self.progress.blocks += len(places)
        self.progress.begun += int(begun)
        self.progress.trained += int(trained)
        self.progress.epoch_trained += int(trained)
        self.progress.loss += float(loss)
        for name, i in zip(done_by, places, strict=True):
            self.progress.steps[name] += math.ceil(blocks[i].rows / self.network.batch_size)
        pace = len(places) / (time.monotonic() - began)
        largest = 2 * self._blocks_a_round
        self._blocks_a_round = max(self.cluster.width, min(largest, round(pace * ROUND_SECONDS)))

    def _train_block(self, block: tf.Tensor, seed: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        """One block on whichever process it is given to; what it did goes into the counters."""
        cells = self.network.shuffled(block, seed)
        rows = tf.cast(tf.shape(cells)[0], tf.float64)
        self._counts.assign_add([rows, 0.0, 0.0])
        loss, bad = self._train_rows(cells)
        self._counts.assign_add([0.0, rows, tf.cast(loss, tf.float64)])
        where = tf.cast(place, tf.int64) * (1 << 32) + tf.cast(bad, tf.int64) + 1
        # Without a condition, which would be one on the servers too.
        where = tf.where(bad < 0, tf.zeros_like(where), where)
        self._bad.scatter_max(tf.IndexedSlices(where[tf.newaxis], tf.constant([0])))
        return rows

    def _train_rows(self, cells: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What `Network.train` does and returns, some steps at a time where the variables are borrowed."""
        if self.cluster.steps_alone is None:
            return self.network.train(cells)
        rows_alone = self.cluster.steps_alone * self.network.batch_size
        loss, bad = tf.constant(0.0), tf.constant(-1)
        for start in tf.range(0, tf.shape(cells)[0], rows_alone):
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            with self.cluster.borrowed(changed=True):
                some, where = self.network.train(cells[start : start + rows_alone])
            loss += some
            if where >= 0:
                bad = start + where
                break
        return loss, bad

    def answer_by(self, network: Network) -> None:
        """Predict by `network` from now on: the trained one, or one with its values that computes in float32."""

        def predict(block: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with self.cluster.borrowed(changed=False):
                return network.predict_block(block)

        self._predict = tf.function(predict, autograph=network.autograph, input_signature=[self.cluster.block])

    def answers(self, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(labels, predictions) of each block of a split, in order."""
        paths = block_paths(self.dataset.path, self.dataset.examples, split)
        return self.cluster.map(self._predict, ((path,) for path in paths))

    def evaluate(self, split: str) -> dict[str, float]:
        """The head's metrics over all rows of a split, however many they are; an area under the curve from as many
        scores as a `Ranking` tells apart.
        """
        return self.measured(self.answers(split))

    def measured(self, answers: Iterable[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        """The head's metrics over rows that come in blocks."""
        label = self.dataset.statistics[self.problem.label.name]
        assert isinstance(label, NumberStatistics)
        every = tally(self.problem, label, whole=True)
        for labels, found in answers:
            if not np.isfinite(found).all():
                wrong = int((~np.isfinite(found)).any(axis=tuple(range(1, found.ndim))).sum())
                raise InputError(
                    f"the network's answer to {wrong:,} of {len(found):,} evaluated rows is no number: a feature there "
                    "is infinite, or far from what it was trained on"
                )
            every.add(labels, found)
        measured = every.metrics()
        return {name: measured[name] for name in metrics.NAMES[self.problem.label.head]}


def describe(epoch: Epoch, of: int) -> str:
    """An epoch in one line for a person who watches."""
    scores = ", ".join(f"{name} {value:.4f}" for name, value in epoch.validation.items() if name != "base_rate")
    by = ", ".join(f"{name} {steps}" for name, steps in sorted(epoch.by.items()))
    return (
        f"epoch {epoch.number} of {of}: {epoch.examples:,} examples, {epoch.steps / epoch.seconds:,.0f} steps/s"
        + (f" ({by})" if len(epoch.by) > 1 or "worker" in by else "")
        + f", loss {epoch.loss:.4f}, validation {scores}"
    )
