"""Datasets that cannot train a problem."""

from pathlib import Path

import pyarrow.csv as pa_csv
import pytest

from penstock_trainer.__main__ import main

from . import _species
from ._birds import write
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


def test_more_shards_than_rows_are_files_of_which_some_are_empty_and_no_row_is_lost(tmp_path):
    raw = run("raw", "--problem", "flights", "--artifacts", tmp_path, "--rows", 5, "--shards", 8, folder=tmp_path)
    files = sorted(Path(raw.path).glob("*.csv"))
    assert len(files) == 8
    assert sum(pa_csv.read_csv(path).num_rows for path in files) == raw.counts["rows"] == 5
    dataset = run("preprocess", "--problem", "flights", "--artifacts", tmp_path, "--raw", raw.path, folder=tmp_path)
    assert dataset.counts["rows"] == 5
