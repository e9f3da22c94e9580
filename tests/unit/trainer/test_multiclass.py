"""A label of several classes, from raw files to the sealed model."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, recall_score

from penstock_trainer import moments
from penstock_trainer.__main__ import main
from penstock_trainer.artifacts import Manifest
from penstock_trainer.network import Network
from penstock_trainer.problem import InputError, Label
from penstock_trainer.slim import SlimModel
from penstock_trainer.statistics import NumberStatistics, read_statistics
from penstock_trainer.tallies import MulticlassTally

from . import _species
from ._birds import UNLABELLED, birds, write
from ._toy import STATISTICS, problem
from .conftest import run
from .test_slim import EXAMPLES

PROBLEM = Path(_species.__file__)
ROWS = 3000


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("species")
    write(folder / "birds.csv", ROWS)
    common = ("--problem", PROBLEM, "--artifacts", folder)
    dataset = run("preprocess", *common, "--raw", folder / "birds.csv", folder=folder)
    assert dataset.counts["unlabelled"] == UNLABELLED
    return dataset, run("train", *common, "--dataset", dataset.path, "--epochs", 6, folder=folder)


def answers(model):
    """The schema, the raw columns of all birds, and the SavedModel's answers."""
    table = birds(ROWS)
    signature = tf.saved_model.load(f"{model.path}/saved_model").signatures["serving_default"]
    raw = {name: table[name].to_numpy().astype(np.float32) for name in ("bill", "mass")}
    raw |= {name: np.array(table[name].to_pylist(), object) for name in ("hatched", "island")}
    found = signature(**{name: tf.constant(values) for name, values in raw.items()})["predictions"].numpy()
    return json.loads((Path(model.path) / "schema.json").read_text()), raw, found


def test_the_model_answers_a_probability_for_each_class_by_name(trained):
    schema, _, found = answers(trained[1])
    assert schema["head"] == "multiclass"
    assert tuple(schema["classes"]) == _species.CLASSES
    assert found.sum(axis=1) == pytest.approx(np.ones(ROWS), abs=1e-5)
    likeliest = [schema["classes"][place] for place in found.argmax(axis=1)]
    labelled = slice(UNLABELLED, None)
    assert accuracy_score(birds(ROWS)["species"].to_pylist()[labelled], likeliest[labelled]) > 0.9
    assert trained[1].metrics["test"]["accuracy"] > 0.9 > trained[1].metrics["test"]["base_rate"] + 0.2


def test_its_slim_form_is_proven_on_every_evaluation_row_and_answers_alike(trained):
    dataset, model = trained
    assert model.metrics["slim"]["rows"] == dataset.counts["validation"] + dataset.counts["test"]
    _, raw, wanted = answers(model)
    hatched = [moments.seconds(text) if text else None for text in raw["hatched"]]
    form = SlimModel(Path(model.path) / "slim", ["hatched", "bill", "mass", "island"])
    found = form.predict([hatched, *(raw[name].tolist() for name in ("bill", "mass", "island"))])
    assert np.abs(np.array(found) - wanted).max() <= model.metrics["slim"]["tolerance"]
    samples = json.loads((Path(model.path) / "samples.json").read_text())
    assert {len(answer) for answer in samples["predictions"]} == {3}


def test_each_class_has_its_own_statistics_of_the_training_rows_and_all_are_in_one(trained):
    dataset, _ = trained
    found = read_statistics(Path(dataset.path))
    classes = [found[f"class {place}"] for place in range(len(_species.CLASSES))]
    assert sum(each["kind"].count for each in classes) == dataset.counts["training"]
    mass = classes[1]["mass"]
    assert isinstance(mass, NumberStatistics)
    assert mass.mean == pytest.approx(5100, abs=50)
    page = (Path(dataset.path) / "report.html").read_text()
    assert page.count("mean in the class") == 6  # bill, mass, hatched and its three parts
    assert "share of the rows" in page


def test_a_timestamp_s_parts_have_statistics_of_their_own_and_its_missing_rows_are_counted(trained):
    dataset, model = trained
    found = read_statistics(Path(dataset.path))["training"]
    rows = dataset.counts["training"]
    hour, whole = found["hatched_hour"], found["hatched"]
    assert isinstance(hour, NumberStatistics)
    assert isinstance(whole, NumberStatistics)
    assert (hour.min, hour.max) == (0, 23)
    assert (whole.min, whole.max) == (10653, 19625)  # days since 1970
    assert hour.missing == whole.missing == found["hatched_month"].missing > rows / 5
    assert hour.count + hour.missing == rows
    (hatched, *_) = json.loads((Path(model.path) / "schema.json").read_text())["columns"]
    assert hatched["parts"] == ["month", "day_of_week", "hour"]
    assert json.loads((Path(model.path) / "statistics.json").read_text())["columns"].keys() >= {"hatched_hour"}


def test_a_moment_in_another_zone_is_the_same_moment_and_one_that_is_none_is_refused(trained):
    signature = tf.saved_model.load(f"{trained[1].path}/saved_model").signatures["serving_default"]

    def ask(*hatched):
        of_all = {name: tf.fill([len(hatched)], 40.0) for name in ("bill", "mass")}
        return signature(hatched=tf.constant(hatched), island=tf.fill([len(hatched)], "dream"), **of_all)["predictions"]

    same, here, other = ask("2024-06-01T01:30+02:00", "2024-05-31 23:30:00.9", "2024-06-01T01:30").numpy()
    assert same.tolist() == here.tolist() != other.tolist()
    with pytest.raises(tf.errors.InvalidArgumentError, match="a timestamp is no moment"):
        ask("2024-02-30")


def test_batch_prediction_reads_and_keeps_timestamps(trained, tmp_path):
    write(tmp_path / "birds.csv", ROWS)
    _, _, wanted = answers(trained[1])
    found = run(
        "predict", "--model", trained[1].path, "--raw", tmp_path / "birds.csv", "--output", tmp_path, folder=tmp_path
    )
    table = pq.read_table(Path(found.path, "predictions"))
    assert np.abs(np.array(table["prediction"].to_pylist()) - wanted).max() < 1e-6


def test_the_card_has_every_test_row_once_in_its_confusion_and_in_its_slices(trained):
    dataset, model = trained
    found = json.loads((Path(model.path) / "evaluation.json").read_text())["test"]
    assert np.array(found["plots"]["confusion"]).sum() == dataset.counts["test"]
    assert found["metrics"]["accuracy"] == pytest.approx(model.metrics["test"]["accuracy"])
    assert found["metrics"]["log_loss"] == pytest.approx(model.metrics["test"]["log_loss"], rel=1e-4)
    assert sum(each["rows"] for each in found["slices"]["island"].values()) == dataset.counts["test"]
    page = (Path(model.path) / "card.html").read_text()
    assert all(page.count(f"<th>{name}</th>") == 4 for name in _species.CLASSES)  # a row and a column, two splits


def test_its_figures_agree_with_scikit_learn_however_the_rows_are_cut():
    random = np.random.default_rng(3)
    labels, predictions = random.integers(0, 4, 500), random.dirichlet(np.ones(4), 500)
    tally = MulticlassTally("abcd")
    for start in range(0, 500, 120):
        tally.add(labels[start : start + 120].astype(np.float32), predictions[start : start + 120])
    likeliest, found = predictions.argmax(axis=1), tally.metrics()
    assert found["log_loss"] == pytest.approx(log_loss(labels, predictions))
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, likeliest))
    assert found["mean_recall"] == pytest.approx(recall_score(labels, likeliest, average="macro"))
    assert tally.plots()["confusion"] == confusion_matrix(labels, likeliest).tolist()


def test_a_label_that_is_none_of_the_classes_is_refused_by_its_value(tmp_path, capsys):
    write(tmp_path / "birds.csv", ROWS, species=["adelie"] * (ROWS - 1) + ["emperor"])
    raw = ("--raw", str(tmp_path / "birds.csv"))
    assert main(["preprocess", "--problem", str(PROBLEM), "--artifacts", str(tmp_path), *raw]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "label 'kind': in a row with species = emperor it is none of its classes (adelie, gentoo," in message


@pytest.mark.parametrize(
    ("head", "of", "said"),
    [
        ("binary", "tf.where(columns['mass'] > 4000, 2.0, 1.0)", "it is 2; head 'binary' takes 0 and 1"),
        ("binary", "tf.where(columns['mass'] > 4000, 100.0, 0.0)", "it is 100; head 'binary' takes 0 and 1"),
        ("regression", "1.0 / (columns['mass'] * 0.0)", "it is inf; head 'regression' takes finite numbers"),
    ],
)
def test_a_label_that_its_head_does_not_take_is_refused_with_its_row(tmp_path, capsys, head, of, said):
    declared = 'Label("kind", of=lambda columns: columns["species"], head="multiclass", classes=CLASSES)'
    text = PROBLEM.read_text()
    assert declared in text
    file = tmp_path / "changed.py"
    changed = f'Label("kind", of=lambda columns: {of}, head="{head}")'
    file.write_text(text.replace(declared, changed).replace("\nfrom", "\nimport tensorflow as tf\n\nfrom", 1))
    raw = write(tmp_path / "birds.csv", 200)
    assert main(["preprocess", "--problem", str(file), "--artifacts", str(tmp_path), "--raw", str(raw)]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert said in message
    assert "in a row with mass = " in message


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"head": "multiclass"}, "needs the names of its classes"),
        ({"head": "multiclass", "classes": ("a", "b", "a")}, "class 'a' is named twice"),
        ({"head": "binary", "classes": ("a", "b")}, "classes are for head 'multiclass'"),
    ],
)
def test_a_label_whose_classes_do_not_fit_its_head_is_refused(changed, said):
    with pytest.raises(InputError, match=said):
        Label("kind", of=lambda columns: columns["species"], **changed)


def test_a_model_function_of_too_few_logits_is_refused_with_both_numbers():
    label = Label("dear", of=lambda columns: columns["cost"], head="multiclass", classes=("a", "b", "c"))
    toy = problem(label=label, model=lambda *_: tf.keras.Input([1]))
    with pytest.raises(InputError, match=r"returns 1 logits a row, the label 'dear' \(multiclass\) needs 3"):
        Network(toy, {**STATISTICS, "dear": STATISTICS["size"]}, EXAMPLES, {})


def test_trained_in_bfloat16_by_xla_it_is_as_good_and_is_proven_and_served_in_float32(trained, tmp_path):
    dataset, model = trained
    flags = ("--dataset", dataset.path, "--epochs", 6, "--precision", "mixed_bfloat16", "--xla")
    found = run("train", "--problem", PROBLEM, "--artifacts", tmp_path, *flags, folder=tmp_path)
    for split in ("validation", "test"):
        for name in ("log_loss", "accuracy"):
            assert found.metrics[split][name] == pytest.approx(model.metrics[split][name], abs=0.02)
    for proof in ("export", "slim"):
        assert found.metrics[proof]["rows"] == model.metrics[proof]["rows"] >= dataset.counts["test"]
    parameters = Manifest.read(Path(found.path)).parameters
    assert (parameters["precision"], parameters["xla"]) == ("mixed_bfloat16", True)
    signature = tf.saved_model.load(f"{found.path}/saved_model").signatures["serving_default"]
    assert {tensor.dtype for tensor in signature.structured_outputs.values()} == {tf.float32}
    assert "DT_BFLOAT16" not in str(signature.graph.as_graph_def())
