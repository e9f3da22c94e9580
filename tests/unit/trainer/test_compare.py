"""New raw data, a new model: it takes over only where it is better on the same rows."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from penstock_trainer import compare, metrics
from penstock_trainer.__main__ import main
from penstock_trainer.artifacts import Manifest, verify, verify_lineage
from penstock_trainer.errors import InputError
from penstock_trainer.problem import load_problem
from penstock_trainer.statistics import NumberStatistics

from . import _exact
from .conftest import run


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A model of fewer flights, as it was trained before more of them came; its folder of artifacts is the tests'."""
    root = tmp_path_factory.mktemp("compare")
    common = ("--problem", "flights", "--artifacts", root)
    raw = run("raw", *common, "--rows", 1500, "--shards", 1, folder=root)
    dataset = run("preprocess", *common, "--raw", raw.path, folder=root)
    return dataset, run("train", *common, "--dataset", dataset.path, "--epochs", 1, folder=root)


@pytest.fixture(scope="module")
def candidate(artifacts, dataset):
    """A model that is better beyond chance, on any machine: more flights, and ten times the passes over them."""
    flags = ("--dataset", dataset.path, "--epochs", 10)
    return run("train", "--problem", "flights", "--artifacts", artifacts, *flags, folder=artifacts)


@pytest.fixture
def root(before, candidate, tmp_path):
    """Artifacts with both models, of which the older one serves."""
    dataset, old = before
    for result in (old, candidate):
        shutil.copytree(result.path, tmp_path / "models" / Path(result.path).name)
    compared(tmp_path, dataset, old)
    return tmp_path


def compared(root, dataset, candidate, *flags):
    path = root / "models" / Path(candidate.path).name
    command = ("compare", "--problem", "flights", "--artifacts", root, "--dataset", dataset.path, "--candidate", path)
    return run(*command, *flags, folder=root)


def test_the_first_model_serves_as_nothing_else_does(root, before):
    serving = compare.Serving.read(root, "flights")
    assert serving is not None
    assert serving.digest == before[1].digest
    assert Manifest.read(root / serving.path).digest == before[1].digest


def test_the_decision_has_both_models_values_on_the_same_rows(root, dataset, candidate, before):
    found = compared(root, dataset, candidate)
    decision = found.metrics["decision"]
    test = Manifest.read(Path(candidate.path)).metrics["test"]
    assert decision["rows"] == dataset.counts["test"]
    assert decision["candidate"]["metrics"] == pytest.approx({name: test[name] for name in metrics.NAMES["binary"]})
    assert decision["serving"]["digest"] == before[1].digest
    gain = decision["candidate"]["metrics"]["auc"] - decision["serving"]["metrics"]["auc"]
    assert decision["gain"] == pytest.approx(gain)
    assert gain > 0, "four times the flights, and ten times the passes, are better"
    assert decision["promoted"]
    assert decision["gain_standard_error"] > 0
    assert (found.digest, Path(found.path).name) == (candidate.digest, Path(candidate.path).name)
    serving = compare.Serving.read(root, "flights")
    assert serving is not None
    assert serving.digest == candidate.digest


def test_a_candidate_that_is_not_better_by_enough_leaves_the_other_in_its_place(root, dataset, candidate, before):
    found = compared(root, dataset, candidate, "--minimum-gain", 0.4)
    assert found.digest == before[1].digest
    assert not found.metrics["decision"]["promoted"]
    assert "is not better by more than 0.4, the other goes on" in found.metrics["decision"]["reason"]
    again = compared(root, dataset, candidate, "--minimum-gain", 0.4)
    assert again.reused
    assert again.digest == before[1].digest


def test_a_worse_candidate_is_not_taken(root, dataset, candidate, before):
    compared(root, dataset, candidate)
    dataset_before, old = before
    found = compared(root, dataset_before, old)
    decision = found.metrics["decision"]
    assert decision["promoted"] is (decision["gain"] > 0)
    assert found.digest == (old.digest if decision["promoted"] else candidate.digest)
    assert decision["rows"] == dataset_before.counts["test"]


def test_the_model_that_serves_already_goes_on_serving(root, dataset, candidate):
    compared(root, dataset, candidate)
    again = compared(root, dataset, candidate)
    assert again.metrics["decision"]["reason"] == "the candidate serves already"
    assert again.digest == candidate.digest


def test_the_decision_is_sealed_with_the_chain_to_the_raw_files(root, dataset, candidate):
    compared(root, dataset, candidate)
    sealed = {verify(path.parent).parameters["serving"]: path.parent for path in root.glob("decisions/*/manifest.json")}
    assert len(sealed) == 2
    for folder in sealed.values():
        assert {"decision", "model", "dataset", "raw"} <= verify_lineage(folder).keys()


def test_a_serving_model_that_was_tampered_with_is_replaced_and_that_is_said(root, dataset, candidate, before):
    with (root / "models" / Path(before[1].path).name / "schema.json").open("a") as file:
        file.write(" ")
    found = compared(root, dataset, candidate)
    assert found.digest == candidate.digest
    assert "schema.json has digest" in found.metrics["decision"]["reason"]


def test_a_model_of_another_dataset_is_no_candidate(root, dataset, before, capsys):
    path = root / "models" / Path(before[1].path).name
    flags = ["--dataset", dataset.path, "--candidate", str(path)]
    assert main(["compare", "--problem", "flights", "--artifacts", str(root), *flags]) == 2
    assert "is no model that was trained on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"label": "price"}, "they cannot be compared; remove serving/flights.json"),
        ({"columns": [{"name": "weight", "type": "number"}]}, "reads column 'weight' (number), which the rows"),
        ({"columns": [{"name": "carrier", "type": "number"}]}, "reads column 'carrier' (number)"),
    ],
)
def test_a_model_that_cannot_answer_the_rows_is_refused_by_name(candidate, tmp_path, changed, told):
    schema = json.loads((Path(candidate.path) / "schema.json").read_text())
    (tmp_path / "schema.json").write_text(json.dumps({**schema, **changed}))
    with pytest.raises(InputError) as caught:
        compare._schema(tmp_path, load_problem("flights"), {"carrier": "category"})
    assert told in str(caught.value)


def test_a_lower_error_is_a_gain():
    labels = np.arange(100, dtype=np.float32)
    answers = compare.Answers(load_problem("ratings"), NumberStatistics.of(labels), ("candidate", "serving"))
    answers.add(labels, {"candidate": labels + 1, "serving": labels + 3})
    gain, error = answers.gain("rmse", "minimize")
    assert gain == pytest.approx(2)
    assert error == pytest.approx(0)
    with pytest.raises(InputError, match=r"the serving model's answer to a row is no number.*serving/ratings\.json"):
        answers.add(labels, {"candidate": labels, "serving": np.full(100, np.nan, np.float32)})


def test_what_is_told_of_rows_that_come_in_blocks_is_what_all_of_them_say_at_once():
    random = np.random.default_rng(4)
    labels = random.integers(0, 2, 5000).astype(np.float32)
    found = {
        which: (1 / (1 + np.exp(noise * random.normal(size=5000) - labels))).astype(np.float32)
        for which, noise in (("candidate", 1.0), ("serving", 1.5))
    }
    answers = compare.Answers(load_problem("flights"), NumberStatistics.of(labels), found)
    for start in range(0, 5000, 733):
        rows = slice(start, start + 733)
        answers.add(labels[rows], {which: scores[rows] for which, scores in found.items()})

    def difference(rows):
        ours, theirs = (_exact.binary(labels[rows], found[which][rows])["auc"] for which in found)
        return ours - theirs

    groups = [difference(slice(first, None, compare.GROUPS)) for first in range(compare.GROUPS)]
    gain, error = answers.gain("auc", "maximize")
    assert answers.rows == 5000
    assert gain == pytest.approx(difference(slice(None)), abs=1e-5)
    assert error == pytest.approx(np.std(groups, ddof=1) / np.sqrt(compare.GROUPS), rel=0.02)
    assert answers.metrics("serving").keys() == set(metrics.NAMES["binary"])
