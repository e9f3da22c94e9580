"""The model card's figures against scikit-learn's, on the same rows, given in pieces."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss, mean_absolute_error, r2_score, roc_auc_score

from penstock_trainer.artifacts import Manifest
from penstock_trainer.dataset import Dataset
from penstock_trainer.evaluation import Predictions
from penstock_trainer.examples import MISSING, UNKNOWN, read_block
from penstock_trainer.network import Network
from penstock_trainer.pages import number
from penstock_trainer.problem import load_problem
from penstock_trainer.slicing import Slicer
from penstock_trainer.statistics import CategoryStatistics, NumberStatistics
from penstock_trainer.tallies import FINE, BinaryTally, Ranking, RegressionTally

from . import _exact
from .test_study_page import Page


def scores():
    rows, random = 20_000, np.random.default_rng(5)
    predictions = random.beta(2, 5, rows).astype(np.float32)
    predictions[:40] = [0.0, 1.0] * 20
    labels = (random.random(rows) < predictions**1.3).astype(np.float32)
    return labels, predictions


def in_pieces(tally, labels, predictions):
    for start in range(0, len(labels), 777):
        tally.add(labels[start : start + 777], predictions[start : start + 777])
    return tally


@pytest.fixture(scope="module")
def binary():
    labels, predictions = scores()
    return labels, predictions, in_pieces(BinaryTally([0.5, 0.25], FINE), labels, predictions)


def test_the_area_under_the_curve_is_within_what_the_bins_allow(binary):
    labels, predictions, tally = binary
    found = tally.metrics()
    assert found["auc_within"] < 1e-4
    assert abs(found["auc"] - roc_auc_score(labels, predictions)) <= found["auc_within"]


@pytest.mark.parametrize("of", ["rare", "almost all", "extreme", "two values"])
def test_however_scores_lie_the_area_is_within_its_bound_of_the_exact_one_and_that_below_a_ten_thousandth(of):
    random = np.random.default_rng(11)
    rows = 50_000
    scores_ = {
        "rare": lambda: random.beta(1, 5_000, rows),
        "almost all": lambda: 1 - random.beta(1, 5_000, rows).astype(np.float32),
        "extreme": lambda: 1 / (1 + np.exp(-random.normal(0, 4, rows))),
        "two values": lambda: random.choice([0.2, 0.7], rows),
    }[of]().astype(np.float32)
    labels = (np.argsort(np.argsort(scores_)) / rows + random.normal(0, 0.4, rows) > 0.6).astype(np.float32)
    tally = in_pieces(BinaryTally(parts=FINE), labels, scores_)
    area, within = tally.metrics()["auc"], tally.metrics()["auc_within"]
    exact = roc_auc_score(labels, scores_)
    if of == "two values":  # of rows with one score, half the pairs are in order
        assert area == pytest.approx(exact, abs=1e-12)
    else:
        assert abs(area - exact) <= within < 1e-4
    assert _exact.binary(labels, scores_)["accuracy"] == pytest.approx(tally.metrics()["accuracy"])


def test_a_ranking_takes_scores_of_zero_and_one_and_says_a_half_without_two_classes():
    ranking = Ranking(FINE)
    ranking.add(np.array([0, 0]), np.array([0.0, 1.0], np.float32))
    assert ranking.area() == (0.5, 0.0)
    ranking.add(np.array([1]), np.array([0.5], np.float32))
    assert ranking.area() == (0.5, 0.0)
    ranking.add(np.array([1, 1]), np.array([1.0, np.nextafter(np.float32(0.5), np.float32(0))], np.float32))
    assert ranking.area() == (pytest.approx((1 + 1 + 2 - 0.5) / 6), pytest.approx(0.5 / 6))


def test_losses_are_scikit_learn_s(binary):
    labels, predictions, tally = binary
    found, wide = tally.metrics(), predictions.astype(np.float64)
    assert found["log_loss"] == pytest.approx(log_loss(labels, np.clip(wide, 1e-7, 1 - 1e-7)), rel=1e-9)
    assert found["brier_score"] == pytest.approx(brier_score_loss(labels, wide), rel=1e-9)
    assert found["base_rate"] == pytest.approx(labels.mean())


def test_calibration_and_its_error_are_those_of_the_ten_equal_bins(binary):
    labels, predictions, tally = binary
    seen, predicted = calibration_curve(labels, predictions, n_bins=10)
    bins = [each for each in tally.plots()["calibration"] if each["rows"]]
    assert [each["share_positive"] for each in bins] == pytest.approx(seen.tolist(), abs=1e-6)
    assert [each["mean_prediction"] for each in bins] == pytest.approx(predicted.tolist(), abs=1e-6)
    rows = np.array([each["rows"] for each in bins])
    assert rows.sum() == len(labels)
    expected = float((rows * np.abs(seen - predicted)).sum() / len(labels))
    assert tally.metrics()["calibration_error"] == pytest.approx(expected, abs=1e-6)


def test_confusion_is_counted_at_each_threshold(binary):
    labels, predictions, tally = binary
    for found in tally.plots()["confusion"]:
        expected = confusion_matrix(labels, predictions >= found["threshold"]).ravel().tolist()
        names = ("true_negative", "false_positive", "false_negative", "true_positive")
        assert [found[name] for name in names] == expected


def test_the_histogram_of_scores_has_every_row_under_its_label(binary):
    labels, predictions, tally = binary
    for value, name in enumerate(("negative", "positive")):
        expected, _ = np.histogram(predictions[labels == value], bins=32, range=(0, 1))
        assert tally.plots()["scores"][name] == expected.tolist()


def test_a_regression_s_figures_are_scikit_learn_s():
    random = np.random.default_rng(3)
    labels = random.normal(1000, 5, 5000).astype(np.float32)
    predictions = (labels + random.normal(0.5, 2, 5000)).astype(np.float32)
    tally = in_pieces(RegressionTally(NumberStatistics.of(labels[:3000])), labels, predictions)
    found, wide = tally.metrics(), (labels.astype(np.float64), predictions.astype(np.float64))
    assert found["r2"] == pytest.approx(r2_score(*wide), rel=1e-9)
    assert found["mae"] == pytest.approx(mean_absolute_error(*wide), rel=1e-9)
    assert found["rmse"] == pytest.approx(float(np.sqrt(((wide[1] - wide[0]) ** 2).mean())), rel=1e-9)
    plots = tally.plots()
    assert sum(plots["residuals"]["rows"]) == sum(each["rows"] for each in plots["by_prediction"]) == 5000


def test_categories_are_slices_by_name_the_rare_and_unseen_together():
    words = [f"w{place:02d}" for place in range(50)]
    slicer = Slicer(CategoryStatistics.of(words, list(range(100, 50, -1)), 1), None)
    found = slicer.rows(np.array([0, 0, 39, 40, 49, MISSING, UNKNOWN, UNKNOWN - 7], np.int32))
    assert {name: rows.nonzero()[0].tolist() for name, rows in found.items()} == {
        "w00": [0, 1], "w39": [2], "others": [3, 4, 6, 7], "missing": [5],
    }  # fmt: skip


def test_few_whole_numbers_are_slices_by_value_and_what_no_training_row_had_is_with_the_others():
    slicer = Slicer(NumberStatistics.of(np.arange(1, 13, dtype=np.float32)), (1, 12))
    found = slicer.rows(np.array([1, 12, 12, 13, 0, np.nan], np.float32))
    assert {name: rows.sum() for name, rows in found.items()} == {"1": 1, "12": 2, "others": 2, "missing": 1}
    assert slicer.order(found) == ["1", "12", "others", "missing"]


def test_numbers_of_many_values_are_cut_into_tenths_of_the_training_rows():
    values = np.random.default_rng(1).normal(size=10_000).astype(np.float32)
    found = Slicer(NumberStatistics.of(values), None).rows(values)
    assert len(found) == 10
    assert all(800 <= rows.sum() <= 1200 for rows in found.values())


@pytest.fixture(scope="module")
def answered(model, dataset):
    """(the model's evaluation.json, {split: (labels, predictions by the SavedModel, month, carrier)})."""
    import tensorflow as tf

    opened = Dataset.open(Path(dataset.path), load_problem("flights"))
    served = tf.saved_model.load(str(Path(model.path) / "saved_model")).signatures["serving_default"]
    from penstock_trainer.export import RawColumns

    source = RawColumns(load_problem("flights"), opened)
    parts = []
    for block in opened.examples.blocks["test"]:
        path = opened.path / block.path
        raw = source.read(path)
        answers = served(**{name: tf.constant(values) for name, values in raw.items()})["predictions"].numpy()
        parts.append((read_block(path, opened.examples)[2], answers, raw["month"], raw["carrier"]))
    return json.loads((Path(model.path) / "evaluation.json").read_text()), [
        np.concatenate(c) for c in zip(*parts, strict=True)
    ]


def test_the_sealed_evaluation_is_that_of_the_served_model_on_every_test_row(answered, dataset, model):
    found, (labels, predictions, _, _) = answered
    test = found["test"]["metrics"]
    assert test["rows"] == dataset.counts["test"] == len(labels)
    assert abs(test["auc"] - roc_auc_score(labels, predictions)) <= test["auc_within"] + 1e-5
    assert test["log_loss"] == pytest.approx(log_loss(labels, predictions.astype(np.float64)), abs=1e-6)
    for name, exact in _exact.binary(labels, predictions).items():
        assert model.metrics["test"][name] == pytest.approx(exact, abs=1e-4)
    assert found["validation"]["metrics"]["rows"] == dataset.counts["validation"]


def test_each_slice_has_its_own_rows_figures_and_all_rows_are_in_one(answered):
    found, (labels, predictions, months, carriers) = answered
    slices = found["test"]["slices"]
    assert slices.keys() == {"carrier", "month"}
    assert slices["month"].keys() == {"11", "12"}
    for column, values in (("month", [str(int(month)) for month in months]), ("carrier", carriers.tolist())):
        assert sum(each["rows"] for each in slices[column].values()) == len(labels)
        values = np.array([value if value in slices[column] else "others" for value in values])
        for name, each in slices[column].items():
            rows = values == name
            assert each["rows"] == rows.sum()
            expected = log_loss(labels[rows], predictions[rows].astype(np.float64), labels=[0, 1])
            assert each["log_loss"] == pytest.approx(expected, abs=1e-6)


def test_the_model_has_the_shapes_and_its_card_the_words_of_the_study_s_best_hyperparameters(study, model, dataset):
    import tensorflow as tf

    best = json.loads((Path(study.path) / "study.json").read_text())["best"]["hyperparameters"]
    flights = load_problem("flights")
    opened = Dataset.open(Path(dataset.path), flights)

    def shapes(hyperparameters):
        made = Network(flights, opened.statistics, opened.examples, hyperparameters)
        return sorted(values.shape for values in made.values())

    saved = tf.train.list_variables(str(Path(model.path) / "saved_model/variables/variables"))
    assert shapes({}) != shapes(best) == sorted(tuple(shape) for name, shape in saved if name.startswith("weights/"))
    texts = Page((Path(model.path) / "card.html").read_text()).texts
    texts = [text for text in texts[texts.index("Hyperparameters") :] if text]
    for name, value in best.items():
        assert texts[texts.index(name) + 1] == (number(value) if isinstance(value, float) else str(value))


def test_the_card_is_sealed_and_names_the_figures_the_slices_and_the_raw_files(model, raw):
    folder = Path(model.path)
    assert {"card.html", "evaluation.json"} <= Manifest.read(folder).files.keys()
    content = (folder / "card.html").read_text()
    page = Page(content)
    assert {"By carrier, test rows", "By month, test rows", "Calibration", "Called positive from 0.5 on"} <= set(
        page.texts
    )
    assert raw.digest in page.texts
    assert Manifest.read(Path(raw.path)).files.keys() <= set(page.texts)
    assert not {"script", "link", "img"} & set(page.tags)
    assert "prefers-color-scheme: dark" in content


@pytest.mark.parametrize("each", [(), (3,)])
def test_predictions_are_read_again_as_they_came_through_however_they_are_cut(tmp_path, each):
    random = np.random.default_rng(5)
    blocks = [(np.zeros(rows), random.normal(size=(rows, *each)).astype(np.float32)) for rows in (7, 1, 4)]
    predictions = Predictions(tmp_path / "predictions")
    assert [found.tolist() for _, found in predictions.kept(blocks)] == [found.tolist() for _, found in blocks]
    every = np.concatenate([found for _, found in blocks])
    again = [*predictions.again([5, 5, 2])]
    assert [found.shape for found in again] == [(5, *each), (5, *each), (2, *each)]
    np.testing.assert_array_equal(np.concatenate(again), every)
    assert predictions.largest == np.abs(every).max()
