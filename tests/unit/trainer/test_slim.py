"""The slim form: the SavedModel's answers without TensorFlow, or the reason why there is none."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from penstock_trainer import (
    Bucketized,
    Category,
    Crossed,
    Cyclic,
    Hashed,
    Missing,
    Number,
    Scaled,
    Timestamp,
    Vocabulary,
    graph,
    moments,
    slim,
)
from penstock_trainer.artifacts import folder_digest, verify
from penstock_trainer.compiled import CannotCompile, compile_slim
from penstock_trainer.dataset import Dataset
from penstock_trainer.examples import Examples
from penstock_trainer.export import TOLERANCE, RawColumns
from penstock_trainer.models import wide_and_deep
from penstock_trainer.network import Network
from penstock_trainer.problem import load_problem
from penstock_trainer.slim import SlimModel
from penstock_trainer.statistics import NumberStatistics

from . import _toy

KINDS = ["oak", "elm", "fir", "", None, "yew", "a kind that no training row had"]
SIZES = [0.5, 2.5, None, 4.0, 9.0, -1.0, 3.0]
EXAMPLES = Examples(["size", "same"], ["kind"], {})


@pytest.fixture(scope="module")
def answers(model, dataset):
    """All test rows as columns, and the SavedModel's answers to them."""
    problem = load_problem("flights")
    source = RawColumns(problem, Dataset.open(Path(dataset.path), problem))
    blocks = [block for block, _ in source.blocks()]
    raw = {name: np.concatenate([block[name] for block in blocks]) for name in source.columns}
    signature = tf.saved_model.load(f"{model.path}/saved_model").signatures["serving_default"]
    wanted = signature(**{name: tf.constant(values) for name, values in raw.items()})["predictions"].numpy()
    return {name: values.tolist() for name, values in raw.items()}, wanted


@pytest.mark.parametrize("batch", [1, 7, 256, 1000])
def test_the_slim_form_answers_every_test_row_as_the_saved_model_does_in_batches_of_any_size(model, answers, batch):
    raw, wanted = answers
    form = SlimModel(Path(model.path) / slim.FOLDER, list(raw))
    columns = list(raw.values())
    found = []
    for start in range(0, len(wanted), batch):
        found += form.predict([column[start : start + batch] for column in columns])
    assert np.abs(np.array(found) - wanted).max() <= TOLERANCE
    assert np.std(found) > 0.01


def test_the_seal_holds_the_proof_of_every_evaluation_row_and_what_it_is_about(model, dataset):
    proof, files = model.metrics["slim"], verify(Path(model.path)).files
    assert proof["splits"] == {split: dataset.counts[split] for split in ("validation", "test")}
    assert proof["rows"] == sum(proof["splits"].values())
    assert proof["max_difference"] <= proof["tolerance"] == TOLERANCE
    assert proof["slim"] == folder_digest(files, "slim") != folder_digest(files, "saved_model") == proof["saved_model"]


def toy_network(*features, model=wide_and_deep, statistics=None, **declared):
    problem = _toy.problem(*features, model=model, hyperparameters={"hidden": "4", "dropout": 0.0}, **declared)
    label = NumberStatistics.of(np.array([0, 1, 1], np.float32))
    statistics = {**_toy.STATISTICS, "dear": label, **(statistics or {})}
    network = Network(problem, statistics, EXAMPLES, {})
    for variable in network.keras_model.weights:  # none is zero, so that every id is told apart
        variable.assign(tf.random.stateless_normal(variable.shape, (1, len(variable.shape))))
    return problem, network


def test_missing_rare_and_unknown_categories_hashes_and_crosses_are_those_of_the_graph(tmp_path):
    kind, size = Vocabulary("kind", minimum_count=2), Bucketized("size", buckets=4)
    features = Hashed("kind", buckets=32), kind, Crossed(kind, size, buckets=7), Missing("kind"), Scaled("size")
    problem, network = toy_network(*features)
    compile_slim(problem, network, tmp_path / "slim")
    ranked = {"kind": ["oak", "elm", "fir"]}
    codes = graph.Encoder(ranked)("kind", tf.constant([kind or "" for kind in KINDS]))
    numbers = tf.constant([np.nan if size is None else size for size in SIZES], tf.float32)
    wanted = network.predict({"size": numbers, "kind": codes}).numpy()
    found = SlimModel(tmp_path / "slim", ["size", "kind"]).predict([SIZES, KINDS])
    assert np.abs(np.array(found) - wanted).max() <= TOLERANCE
    assert len(set(found)) == len(found)


def test_a_timestamp_is_taken_apart_in_the_graph_and_derive_reads_its_parts(tmp_path):
    columns = {**_toy.problem().columns, "when": Timestamp(parts=("year", "hour", "day_of_year"))}
    derived = {"derive": lambda c: {"age": c["when_year"] - c["size"]}, "derived": {"age": Number()}}
    features = Scaled("age"), Cyclic("when_hour", period=24), Scaled("when_day_of_year", by="min_max")
    spread = NumberStatistics.of(np.array([0, 2013, np.nan], np.float32))
    found = {"age": spread, "when_hour": spread, "when_day_of_year": spread}
    problem, network = toy_network(*features, columns=columns, statistics=found, **derived)
    compile_slim(problem, network, tmp_path / "slim")
    texts = ["2013-06-01T12:30Z", "1899-12-31 23:59:59", "", "2000-02-29", "2200-03-01T00:00+14:00", "1970-01-01", ""]
    raw = {"when": graph.moments(tf.constant(texts)), "size": tf.constant([s or np.nan for s in SIZES], tf.float32)}
    taken = graph.with_parts(problem.columns, raw)
    wanted = network.predict({**taken, **graph.derive(problem, taken)}).numpy()
    moments_ = [moments.seconds(text) if text else None for text in texts]
    answers = SlimModel(tmp_path / "slim", ["when", "size"]).predict([moments_, SIZES])
    assert np.abs(np.array(answers) - wanted).max() <= TOLERANCE
    assert len(set(answers)) == 6  # the missing moments are alike, whatever the size


def test_only_the_words_that_a_feature_knows_are_kept(tmp_path):
    problem, network = toy_network(Vocabulary("kind", minimum_count=2), Scaled("size", by="log"))
    compile_slim(problem, network, tmp_path / "slim")
    found = json.loads((tmp_path / "slim" / slim.LOOKUPS).read_text())
    assert found["categories"] == {"kind": {"words": ["oak", "elm"], "hashed": False}}


def test_a_form_of_other_columns_is_refused(tmp_path):
    problem, network = toy_network(Scaled("size"))
    compile_slim(problem, network, tmp_path / "slim")
    with pytest.raises(ValueError, match="its columns are"):
        SlimModel(tmp_path / "slim", ["kind", "size"])


def test_text_in_derive_is_the_named_reason_for_no_slim_form(tmp_path):
    lower = {"derive": lambda columns: {"low": tf.strings.lower(columns["kind"])}, "derived": {"low": Category()}}
    problem = _toy.problem(Scaled("size"), **lower)
    _, network = toy_network(Scaled("size"))
    with pytest.raises(CannotCompile, match=r"derive reads the text of 'kind' \(StringLower\)"):
        compile_slim(problem, network, tmp_path / "slim")
    assert not (tmp_path / "slim").exists()


class Doubling(keras.layers.Layer):
    """Doubles the logits of rows among which one is larger than all that was trained on, by Python's `if` and `for`."""

    def call(self, inputs):
        logits, sizes = inputs
        if tf.reduce_max(sizes) > 3.0:
            for _ in tf.range(1):
                logits = logits * 2.0
        return logits


def test_a_layer_of_the_problems_own_may_have_conditions_and_loops_on_tensors(tmp_path):
    def model(inputs, specs, parameters):
        return Doubling()((wide_and_deep(inputs, specs, parameters), inputs["size_scaled"]))

    problem, network = toy_network(Scaled("size"), Vocabulary("kind", dimension=2), model=model)
    cells = np.array([[2.0, 7.0, 0.0, 1.0], [9.0, 7.0, 0.0, 0.0]], np.float32)
    loss, bad = tf.function(network.train)(tf.constant(cells))
    assert (np.isfinite(float(loss)), int(bad)) == (True, -1)
    compile_slim(problem, network, tmp_path / "slim")
    form = SlimModel(tmp_path / "slim", ["size", "kind"])
    before, _ = network.keras_model.layers[-1].input
    plain = keras.Model(network.keras_model.inputs, before)
    for sizes, factor in (([2.0, 3.0], 1), ([2.0, 9.0], 2)):
        columns = {"size": tf.constant(sizes), "kind": tf.constant([0, 1])}
        logits = plain(network.featurizer(columns)).numpy().ravel()
        assert form.predict([sizes, ["oak", "elm"]]) == pytest.approx(1 / (1 + np.exp(-factor * logits)), abs=1e-6)


def test_an_operation_that_litert_lacks_is_the_named_reason_for_no_slim_form(tmp_path):
    def model(inputs, specs, parameters):
        shifted = tf.bitwise.right_shift(tf.cast(inputs["size_scaled"], tf.int64), 1)
        return tf.cast(shifted, tf.float32) + wide_and_deep(inputs, specs, parameters)

    problem, network = toy_network(Scaled("size"), model=model)
    with pytest.raises(CannotCompile, match="LiteRT has no RightShift"):
        compile_slim(problem, network, tmp_path / "slim")
