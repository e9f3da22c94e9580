"""Lower precision and XLA: what the network computes in, and where they are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tensorflow.python.distribute.sharded_variable import ShardedVariable
from tf_keras.src.mixed_precision.autocast_variable import create_autocast_variable

from penstock_trainer import Hashed, Scaled, Vocabulary, clusters, loop, wide_and_deep
from penstock_trainer.__main__ import main
from penstock_trainer.arithmetic import Arithmetic
from penstock_trainer.dataset import Dataset
from penstock_trainer.errors import InputError
from penstock_trainer.network import SMALL_TABLE, Network
from penstock_trainer.problem import load_problem

from ._toy import STATISTICS, problem
from .test_slim import EXAMPLES

HYPERPARAMETERS = {"hidden": "8", "dropout": 0.0, "batch_size": 4}
LABELLED = {**STATISTICS, "dear": STATISTICS["size"]}


def network(arithmetic):
    large = Hashed("kind", buckets=SMALL_TABLE, dimension=2)  # whose gradient is that of a few rows
    features = Scaled("size"), Vocabulary("kind", dimension=2), large
    toy = problem(*features, model=wide_and_deep, hyperparameters=HYPERPARAMETERS)
    return Network(toy, LABELLED, EXAMPLES, {}, arithmetic)


def test_in_mixed_precision_hidden_layers_compute_in_bfloat16_and_variables_and_logits_are_float32():
    made = network(Arithmetic("mixed_bfloat16"))
    hidden, last = [layer for layer in made.keras_model.layers if isinstance(layer, keras.layers.Dense)]
    assert (hidden.compute_dtype, last.compute_dtype) == ("bfloat16", "float32")
    assert {str(values.dtype) for values in made.values()} == {"float32"}
    columns = {"size": tf.constant([1.0, 2.0]), "kind": tf.constant([0, 1])}
    assert made.logits(made.featurizer(columns), training=True).dtype == tf.float32
    plain = network(Arithmetic())
    plain.keras_model.set_weights(made.values())
    found, exact = (each.logits(each.featurizer(columns), training=False).numpy() for each in (made, plain))
    assert found == pytest.approx(exact, abs=0.02)
    assert (found != exact).any()


def test_steps_compiled_by_xla_end_in_the_values_of_those_that_are_not_the_short_batch_included():
    plain, compiled = network(Arithmetic()), network(Arithmetic(xla=True))
    compiled.keras_model.set_weights(plain.values())
    random = np.random.default_rng(1)
    codes = np.array([0, 1, 2, -1, -2, 1, 1, 0, 2, 2], np.int32).view(np.float32)
    cells = np.stack([random.normal(2, 1, 10), np.full(10, 7.0), codes, random.integers(0, 2, 10)], 1, dtype=np.float32)
    before = plain.values()
    for each in (plain, compiled):
        loss, bad = tf.function(each.train)(tf.constant(cells))
        assert (np.isfinite(float(loss)), int(bad)) == (True, -1)
    for first, without, by_xla in zip(before, plain.values(), compiled.values(), strict=True):
        assert by_xla == pytest.approx(without, abs=1e-5)
        assert (without != first).any()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--precision", "mixed_bfloat16"], "Keras cannot read a variable that is in shards in another precision"),
        (["--xla"], "a worker's step reads and changes tables on other machines, which XLA cannot compile"),
    ],
)
def test_beside_parameter_servers_they_are_refused_with_the_reason_before_anything_is_read(flags, reason, capsys):
    nowhere = ["--problem", "flights", "--dataset", "/nowhere", "--artifacts", "/nowhere"]
    cluster = '{"cluster": {"chief": ["c:1"], "ps": ["p:1"], "worker": ["w:1"]}, "task": {"type": "%s", "index": 0}}'
    with pytest.MonkeyPatch.context() as patch:
        for role in ("chief", "ps"):
            patch.setenv("TF_CONFIG", cluster % role)
            assert main(["train", *nowhere, "--strategy", "parameter-server", *flags]) == 2
            assert reason in capsys.readouterr().err
    with pytest.raises(InputError, match="precision is 'float8'; use one of float32, mixed_bfloat16"):
        Arithmetic("float8").check("local")


def test_keras_cannot_cast_a_sharded_variable_which_is_why():
    shards = [tf.Variable(tf.zeros([1])), tf.Variable(tf.zeros([1]))]
    sharded = ShardedVariable(shards)
    with pytest.raises(ValueError, match=r"must be of type tf\.ResourceVariable"):
        create_autocast_variable(sharded)


def test_a_model_that_xla_cannot_compile_is_said_to_be_so(dataset):
    flights = load_problem("flights")

    def worded(inputs, specs, parameters):
        numbers = [inputs[name] for name, spec in specs.items() if spec.ids is None]
        there_and_back = tf.strings.to_number(tf.strings.as_string(tf.concat(numbers, axis=1)))
        return keras.layers.Dense(1)(tf.ensure_shape(there_and_back, [None, len(numbers)]))

    opened = Dataset.open(Path(dataset.path), flights)
    trainer = loop.Trainer(replace(flights, model=worded), opened, clusters.Local(), {}, 1, Arithmetic(xla=True))
    with pytest.raises(InputError, match="XLA cannot compile this model's steps, train without it"):
        next(trainer.epochs(1))
