"""How many threads one operation is shared out among."""

import os
from contextlib import suppress

import tensorflow as tf

from penstock_trainer import capacity, models
from penstock_trainer.featurizer import Featurizer
from penstock_trainer.network import BATCH_SIZE
from penstock_trainer.problem import Problem
from penstock_trainer.ranges import Hyperparameters
from penstock_trainer.statistics import Statistics

LARGEST = 1 << 26
"""Multiplications of a step, times the processors, up to which sharing an operation out costs more than it brings. On
two processors a step of the bundled network (a tenth of this) took a quarter less time with one thread an operation,
one of three quarters of it a fifth less, one of two and a half times as long, and one of nine times a quarter more."""
CHOSEN_OTHERWISE = "TF_NUM_INTRAOP_THREADS"


def choose(problem: Problem, statistics: Statistics, hyperparameters: Hyperparameters) -> None:
    """One for the operations of a small network on processors alone: there, operations that do not need each other run
    side by side, and each is too short to be worth waking others. Else TensorFlow's own choice: all processors of the
    machine; in a container that may use fewer of them, as many as it may.

    It holds for the process; once TensorFlow has computed anything, nothing changes.
    """
    if CHOSEN_OTHERWISE in os.environ or tf.config.list_physical_devices("GPU"):
        return
    parameters = problem.parameters(hyperparameters)
    specs = Featurizer(problem, statistics, hyperparameters).specs()
    of_a_row = models.multiplications(problem.model, specs, {**parameters, "outputs": problem.label.outputs})
    cores = capacity.cores()
    if of_a_row is not None and of_a_row * int(parameters.get("batch_size", BATCH_SIZE)) * cores <= LARGEST:
        chosen = 1
    elif cores < (os.cpu_count() or 1):
        chosen = cores
    else:
        return
    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(chosen)
