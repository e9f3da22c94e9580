"""Datasets that cannot train a problem, and raw files that are not as most are."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from penstock_trainer import statistics
from penstock_trainer.__main__ import main
from penstock_trainer.labelled import Comoment, GroupMeans

from . import _species
from ._birds import birds, write
from .conftest import run

PROBLEM = Path(_species.__file__)
ROWS = 600


def refused(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("birds")
    raw = write(folder / "birds.csv", ROWS)
    return run("preprocess", "--problem", PROBLEM, "--artifacts", folder, "--raw", raw, folder=folder)


@pytest.mark.parametrize("stage", [("train",), ("tune", "--trials", "2")])
def test_labels_that_are_all_equal_are_refused_before_anything_is_trained(tmp_path, capsys, stage):
    problem = tmp_path / "tunable.py"  # with a range, so that tuning has something to do
    problem.write_text(
        PROBLEM.read_text()
        .replace('"dropout": 0.0', '"dropout": FloatRange(0.0, 0.5)')
        .replace("    Category,\n", "    Category,\n    FloatRange,\n", 1)
    )
    common = ("--problem", problem, "--artifacts", tmp_path)
    raw = write(tmp_path / "birds.csv", ROWS, species=["gentoo"] * ROWS)
    dataset = run("preprocess", *common, "--raw", raw, folder=tmp_path)
    said = refused(capsys, *stage, *common, "--dataset", dataset.path)
    assert f"label 'kind' is 1.0 in all {dataset.counts['training']:,} training rows: there is nothing to learn" in said
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('Scaled("mass")', 'Scaled("mass"), Scaled("wing")', "no column 'wing', which feature wing_scaled of problem"),
        ('slices=("island",)', 'slices=("wing",)', "no column 'wing', which `slices` of problem 'species' needs"),
        ('Label("kind"', 'Label("sex"', "no column 'sex', which the label of problem 'species' needs"),
    ],
)
def test_a_column_that_the_dataset_lacks_is_named_with_what_needs_it(dataset, tmp_path, capsys, old, new, said):
    wider = tmp_path / "wider.py"
    text = PROBLEM.read_text().replace('"island": Category(),', '"island": Category(),\n        "wing": Number(),')
    wider.write_text(text.replace(old, new))
    found = refused(capsys, "train", "--problem", wider, "--artifacts", tmp_path, "--dataset", dataset.path)
    assert f"{dataset.path} has {said}" in found
    assert "preprocess the raw files with this problem" in found


def test_a_split_whose_dates_leave_no_training_row_is_refused_with_where_the_rows_are(tmp_path, capsys):
    early = tmp_path / "early.py"
    early.write_text(PROBLEM.read_text().replace('validation="2024-07-01"', 'validation="2004-07-01"'))
    raw = write(tmp_path / "birds.csv", ROWS)
    said = refused(capsys, "preprocess", "--problem", early, "--artifacts", tmp_path, "--raw", raw)
    assert "no row is in the training split (" in said
    assert "5 unlabelled): move the split's dates in problem 'species'" in said


def test_files_without_a_row_are_refused_and_disturb_nothing_beside_others(tmp_path, capsys):
    empty, raw = tmp_path / "empty.parquet", write(tmp_path / "birds.csv", ROWS)
    table = pa_csv.read_csv(raw)
    moments = table["seen"].cast("timestamp[s]")
    table = table.set_column(0, "seen", moments).set_column(1, "hatched", moments)
    pq.write_table(table.slice(0, 0), empty)
    common = ("--problem", PROBLEM, "--artifacts", tmp_path, "--raw", empty)
    assert "the raw files hold no rows" in refused(capsys, "preprocess", *common)
    assert run("preprocess", *common, "--raw", raw, folder=tmp_path).counts["rows"] == ROWS


def test_text_that_is_not_utf8_is_a_dead_letter_of_csv_and_parquet_files_alike(tmp_path):
    raw, parquet = write(tmp_path / "birds.csv", ROWS), tmp_path / "birds.parquet"
    table = pa_csv.read_csv(raw).slice(0, 3)
    moments = table["seen"].cast("timestamp[s]")
    table = table.set_column(0, "seen", moments).set_column(1, "hatched", moments)
    island = pa.array([b"dream", b"drea\xff", b"dream"]).cast(pa.string(), safe=False)
    pq.write_table(table.set_column(table.column_names.index("island"), "island", island), parquet)
    lines = raw.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"e", b"e\xff")  # of the island: it has no species
    raw.write_bytes(b"".join(lines))
    common = ("--problem", PROBLEM, "--artifacts", tmp_path, "--bad-rows-allowed", "0.01")
    dataset = run("preprocess", *common, "--raw", raw, "--raw", parquet, folder=tmp_path)
    assert (dataset.counts["rows"], dataset.counts["dead_letter"]) == (ROWS + 3, 2)
    letters = [json.loads(line) for line in (Path(dataset.path) / "dead_letters.jsonl").read_text().splitlines()]
    assert [(letter["line"], letter["column"], letter["reason"]) for letter in letters] == [
        (5, "island", "not UTF-8 text"),
        (2, "island", "not UTF-8 text"),
    ]


def test_a_derived_number_that_is_infinite_is_missing_in_the_dataset_the_model_and_its_slim_form(tmp_path):
    problem = tmp_path / "rates.py"
    derive = 'derive=lambda columns: {"rate": columns["mass"] / columns["bill"]},\n    derived={"rate": Number()},\n'
    text = PROBLEM.read_text().replace("    features=[\n", f'    {derive}    features=[\n        Scaled("rate"),\n', 1)
    problem.write_text(text)
    bills = np.where(np.arange(ROWS) % 7 == 0, 0, 40 + np.arange(ROWS) % 11)
    raw = write(tmp_path / "birds.csv", ROWS, bill=bills)
    common = ("--problem", problem, "--artifacts", tmp_path)
    dataset = run("preprocess", *common, "--raw", raw, folder=tmp_path)
    rate = statistics.read_statistics(Path(dataset.path))["training"]["rate"]
    assert isinstance(rate, statistics.NumberStatistics)
    assert rate.missing == pytest.approx(dataset.counts["training"] / 7, rel=0.2)
    assert rate.max is not None
    assert rate.max < 1000
    model = run("train", *common, "--dataset", dataset.path, "--epochs", 1, folder=tmp_path)
    proven = model.metrics["export"]["rows"]
    assert proven == model.metrics["slim"]["rows"] == dataset.counts["validation"] + dataset.counts["test"]
    assert np.isfinite(model.metrics["test"]["log_loss"])


def test_rows_of_categories_that_were_let_go_are_left_out_of_the_proof_and_counted_where_their_text_matters(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(statistics, "MAX_CATEGORIES", 40)
    islands = [f"island {row}" if row % 3 else "biscoe" for row in range(ROWS)]
    raw = write(tmp_path / "birds.csv", ROWS, island=islands)
    common = ("--problem", PROBLEM, "--artifacts", tmp_path)
    dataset = run("preprocess", *common, "--raw", raw, folder=tmp_path)
    model = run("train", *common, "--dataset", dataset.path, "--epochs", 1, folder=tmp_path)
    found, evaluated = model.metrics["export"], dataset.counts["validation"] + dataset.counts["test"]
    assert found["rows"] + found["left_out"] == evaluated
    kept = 0
    for split in ("validation", "test"):
        island = statistics.read_statistics(Path(dataset.path))[split]["island"]
        assert isinstance(island, statistics.CategoryStatistics)
        kept += island.count - island.pruned
        assert island.pruned > 0
    assert found["rows"] == kept
    assert model.metrics["slim"]["rows"] == evaluated


def test_a_regressions_label_has_its_mean_in_each_category_of_the_training_rows(tmp_path):
    problem = tmp_path / "weights.py"
    declared = 'Label("kind", of=lambda columns: columns["species"], head="multiclass", classes=CLASSES)'
    changed = 'Label("weight", of=lambda columns: columns["mass"], head="regression")'
    assert declared in PROBLEM.read_text()
    problem.write_text(PROBLEM.read_text().replace(declared, changed))
    raw = write(tmp_path / "birds.csv", ROWS)
    dataset = run("preprocess", "--problem", problem, "--artifacts", tmp_path, "--raw", raw, folder=tmp_path)
    found = statistics.read_statistics(Path(dataset.path))["with_label"]
    table = birds(ROWS).to_pandas()
    masses = table[table["seen"] < "2024-07-01"].groupby("island")["mass"]
    island, mass = found["island"], found["mass"]
    assert isinstance(island, GroupMeans)
    assert {word: count for word, (count, _, _) in island.groups.items()} == masses.count().to_dict()
    assert {word: mean for word, (_, mean, _) in island.groups.items()} == pytest.approx(masses.mean().to_dict())
    assert isinstance(mass, Comoment)
    assert mass.correlation == pytest.approx(1)
    page = (Path(dataset.path) / "report.html").read_text()
    assert "tells the label almost by itself: their correlation is 1.000" in page
    assert "mean of the label" in page


def test_more_shards_than_rows_are_files_of_which_some_are_empty_and_no_row_is_lost(tmp_path):
    raw = run("raw", "--problem", "flights", "--artifacts", tmp_path, "--rows", 5, "--shards", 8, folder=tmp_path)
    files = sorted(Path(raw.path).glob("*.csv"))
    assert len(files) == 8
    assert sum(pa_csv.read_csv(path).num_rows for path in files) == raw.counts["rows"] == 5
    dataset = run("preprocess", "--problem", "flights", "--artifacts", tmp_path, "--raw", raw.path, folder=tmp_path)
    assert dataset.counts["rows"] == 5
