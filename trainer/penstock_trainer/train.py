"""Training: every example of every epoch, in this process or by workers with the variables on parameter servers.

    python -m penstock_trainer train --problem flights --dataset artifacts/dataset/<key> --strategy local --epochs 3 \\
        --artifacts artifacts

About 150,000 examples a second on two cores; the flights reach a test AUC of about 0.70 in three epochs.
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from penstock_trainer import artifacts, clusters, export, metrics
from penstock_trainer.artifacts import verify
from penstock_trainer.clusters import Cluster
from penstock_trainer.dataset import Dataset
from penstock_trainer.errors import InputError
from penstock_trainer.network import Network, block_paths
from penstock_trainer.problem import Problem, load_problem
from penstock_trainer.ranges import Hyperparameters
from penstock_trainer.stages import Stage, code_digest, fingerprint, write_lineage

SEED = 1


@dataclass(frozen=True)
class Epoch:
    """What one epoch did: its number from 1, the examples it trained on, their mean loss, its seconds, and
    `validation` metrics.
    """

    number: int
    examples: int
    steps: int
    loss: float
    seconds: float
    validation: dict[str, float]


class Trainer:
    """One network in training on a dataset, on a cluster."""

    def __init__(
        self, problem: Problem, dataset: Dataset, cluster: Cluster, hyperparameters: Hyperparameters, seed: int
    ):
        self.dataset, self.cluster, self.seed = dataset, cluster, seed
        self.head = problem.label.head
        tf.keras.utils.set_random_seed(seed)
        with cluster.strategy.scope():
            self.network = Network(problem, dataset.statistics, dataset.examples, hyperparameters)
            self.epoch = tf.Variable(tf.constant(0, tf.int64), trainable=False)
        path = tf.TensorSpec([], tf.string)
        self._train = tf.function(self.network.train_block, input_signature=[path, tf.TensorSpec([2], tf.int32)])
        self._predict = tf.function(self.network.predict_block, input_signature=[path])

    def epochs(self, count: int, first: int = 1) -> Iterator[Epoch]:
        """Train for the epochs `first` to `count`, every training example in each, and yield after each.

        Raises:
            InputError: the loss is no longer a number, or an epoch did not see every example.
        """
        expected = self.dataset.examples.rows("training")
        paths = block_paths(self.dataset.path, self.dataset.examples, "training")
        for number in range(first, count + 1):
            began = time.monotonic()
            order = np.random.default_rng([self.seed, number]).permutation(len(paths))
            done = self.cluster.map(
                self._train, [(tf.constant(paths[i]), tf.constant([number, i], tf.int32)) for i in order]
            )
            examples = int(sum(rows for rows, _ in done))
            loss = float(sum(total for _, total in done)) / examples
            if not math.isfinite(loss):
                raise InputError(
                    f"epoch {number}: the loss is {loss}; lower the learning rate's range or scale the features"
                )
            if examples != expected:
                raise RuntimeError(f"epoch {number} trained on {examples} examples of {expected}")
            steps = sum(
                math.ceil(block.rows / self.network.batch_size) for block in self.dataset.examples.blocks["training"]
            )
            seconds = time.monotonic() - began
            yield Epoch(number, examples, steps, loss, seconds, self.evaluate("validation"))

    def restore(self, folder: Path) -> int:
        """Keep checkpoints in `folder` from now on; returns the number of the last epoch that is in one, 0 when none
        is.
        """
        checkpoint = tf.train.Checkpoint(
            model=self.network.keras_model, optimizer=self.network.optimizer, epoch=self.epoch
        )
        self.checkpoints = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=2)
        if self.checkpoints.restore_or_initialize():
            print(f"goes on after epoch {self.epoch.numpy()}, from {self.checkpoints.latest_checkpoint}", flush=True)
        return int(self.epoch.numpy())

    def save(self, epoch: int) -> None:
        """Write a checkpoint after an epoch."""
        self.epoch.assign(epoch)
        self.checkpoints.save(epoch)

    def predictions(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """(labels, predictions) of all rows of a split, in the order of its blocks."""
        paths = block_paths(self.dataset.path, self.dataset.examples, split)
        answers = self.cluster.map(self._predict, [(tf.constant(path),) for path in paths])
        return np.concatenate([labels for labels, _ in answers]), np.concatenate([found for _, found in answers])

    def evaluate(self, split: str) -> dict[str, float]:
        """The head's metrics over all rows of a split."""
        return metrics.evaluate(self.head, *self.predictions(split))


def describe(epoch: Epoch, of: int) -> str:
    """An epoch in one line for a person who watches."""
    scores = ", ".join(f"{name} {value:.4f}" for name, value in epoch.validation.items() if name != "base_rate")
    return (
        f"epoch {epoch.number} of {of}: {epoch.examples:,} examples, {epoch.steps / epoch.seconds:,.0f} steps/s, "
        f"loss {epoch.loss:.4f}, validation {scores}"
    )


def run_stage(reference: str, dataset_path: Path, study: Path | None, root: Path, strategy: str, epochs: int) -> None:
    """Train, evaluate, export and seal; resumes from the last checkpoint of a run with the same key."""
    problem = load_problem(reference)
    dataset = Dataset.open(dataset_path, problem)
    inputs = {"dataset": dataset.manifest.digest}
    hyperparameters: Hyperparameters = {}
    lineage = {"dataset": dataset.manifest}
    if study:
        lineage["study"] = verify(study)
        inputs["study"] = lineage["study"].digest
        hyperparameters = best_hyperparameters(study)
    parameters = {"strategy": strategy, "epochs": epochs, "seed": SEED, "problem": fingerprint(problem)}
    functions = (problem.model, problem.derive, problem.label.of)
    stage = Stage("model", root, inputs, parameters, code_digest("train", problem, *functions))
    manifest = stage.finished()
    if manifest:
        stage.report(manifest, reused=True)
        return
    trainer = Trainer(problem, dataset, clusters.connect(strategy), hyperparameters, SEED)
    with artifacts.building(root, stage.kind, stage.key) as directory:
        first = trainer.restore(stage.scratch)
        trained = first * dataset.examples.rows("training")
        for epoch in trainer.epochs(epochs, first + 1):
            print(describe(epoch, epochs), flush=True)
            trained += epoch.examples
            trainer.save(epoch.number)
        found = {split: trainer.evaluate(split) for split in ("validation", "test")}
        _, expected = trainer.predictions("test")
        network = Network(problem, dataset.statistics, dataset.examples, hyperparameters)
        network.keras_model.set_weights(trainer.network.values())
        export.export(problem, dataset, network, directory)
        found["export"] = export.prove(problem, dataset, expected, directory)
        found["slim"] = export.slim_form(problem, dataset, network, expected, directory)
        if "reason" in found["slim"]:
            print(f"no slim form: {found['slim']['reason']}", flush=True)
        print("test: " + ", ".join(f"{name} {value:.4f}" for name, value in found["test"].items()), flush=True)
        write_lineage(directory, lineage, dataset_path)
        counts = {**dataset.manifest.counts, "examples_seen": trained, "epochs": epochs}
        manifest = stage.seal(directory, counts=counts, metrics=found)
    stage.report(manifest, reused=False)


def best_hyperparameters(study: Path) -> Hyperparameters:
    """The best trial's hyperparameters of a sealed study."""
    return json.loads((study / "study.json").read_text())["best"]["hyperparameters"]
