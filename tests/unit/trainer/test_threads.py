"""One thread an operation, where a network is small for the machine."""

import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from penstock_trainer import Choice, Scaled, Vocabulary, linear, models, threads, wide_and_deep

from ._toy import STATISTICS, problem

FEATURES = Scaled("size"), Vocabulary("kind", dimension=2)


def chosen(monkeypatch, cores, best=(), usable=None, **fields):
    """The number of threads that was set, or none."""
    found = []
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", found.append)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(threads.capacity, "cores", lambda: usable or cores)
    threads.choose(problem(*FEATURES, **fields), STATISTICS, dict(best))
    return found


@pytest.mark.parametrize(("hidden", "cores", "expected"), [("64,32", 2, [1]), ("1024,512", 2, []), ("128,128", 64, [])])
def test_it_is_chosen_by_the_multiplications_of_a_step_and_by_the_processors(monkeypatch, hidden, cores, expected):
    by_hand = {"model": wide_and_deep, "hyperparameters": {"hidden": hidden, "batch_size": 512}}
    assert chosen(monkeypatch, cores, **by_hand) == expected
    tuned = {"model": wide_and_deep, "hyperparameters": {"hidden": Choice("8", hidden), "batch_size": 512}}
    assert chosen(monkeypatch, cores, {"hidden": hidden}, **tuned) == expected


def test_for_a_function_of_the_user_s_own_and_where_somebody_has_chosen_nothing_is(monkeypatch):
    assert chosen(monkeypatch, 2, model=linear) == [1]
    assert chosen(monkeypatch, 2, model=print) == []
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "2")
    assert chosen(monkeypatch, 2, model=linear) == []


def test_in_a_container_that_may_use_few_of_the_machines_processors_these_count(monkeypatch):
    small = {"model": wide_and_deep, "hyperparameters": {"hidden": "128,128", "batch_size": 512}}
    large = {"model": wide_and_deep, "hyperparameters": {"hidden": "1024,512", "batch_size": 512}}
    assert chosen(monkeypatch, 64, usable=2, **small) == [1]
    assert chosen(monkeypatch, 64, usable=2, **large) == [2]


def test_the_multiplications_of_a_row_are_those_of_the_layers_weights():
    specs = {"size": models.InputSpec(width=3), "kind": models.InputSpec(ids=9, dimension=4)}
    parameters = {"hidden": "8,5", "dropout": 0.0, "outputs": 2}
    inputs = models.inputs_for(specs)
    for function in (wide_and_deep, linear):
        made = models.keras.Model(inputs, function(inputs, specs, parameters))
        kernels = [variable.shape.num_elements() for variable in made.weights if "kernel" in variable.name]
        assert models.multiplications(function, specs, parameters) == sum(kernels)


def test_tensorflow_takes_it_before_it_computes_and_goes_on_as_it_was_after():
    program = """
import tensorflow as tf
from _toy import STATISTICS, problem
from penstock_trainer import Scaled, linear, threads
for _ in range(2):
    threads.choose(problem(Scaled("size"), model=linear), STATISTICS, {})
    print(tf.config.threading.get_intra_op_parallelism_threads(), int(tf.add(1, 1)))
"""
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", program], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 2\n1 2\n"
