"""The stages on a slice of the real flights: raw, dataset, study, model; and each with something changed."""

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

import penstock_trainer
from penstock_trainer import artifacts as sealed
from penstock_trainer import csv_blocks, export, graph, stages, statistics
from penstock_trainer.__main__ import main
from penstock_trainer.dataset import Dataset
from penstock_trainer.examples import Examples, read_block
from penstock_trainer.network import Network
from penstock_trainer.problem import load_problem
from penstock_trainer.statistics import CategoryStatistics, NumberStatistics

from .conftest import ROWS, run

FLIGHTS = Path(penstock_trainer.__file__).parent / "problems" / "flights.py"


@pytest.fixture
def opened_files():
    """The paths of all files that Python opens meanwhile."""
    opened: list[str] = []
    listening = [True]  # a hook is there for good

    def hook(event, arguments):
        if listening and event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)
    yield opened
    listening.clear()


def raw_table(raw):
    tables = [pa_csv.read_csv(path) for path in sorted(Path(raw.path).glob("*.csv"))]
    return {name: np.concatenate([t[name].to_numpy() for t in tables]) for name in tables[0].column_names}


def test_every_raw_row_is_counted_once(raw, dataset):
    counts = dict(dataset.counts)
    assert counts.pop("rows") == ROWS == raw.counts["rows"]
    assert sum(counts.values()) == ROWS
    assert counts["dead_letter"] == 0
    table = raw_table(raw)
    assert counts["unlabelled"] == np.isnan(table["arr_delay"].astype(float)).sum() > 0


def test_the_rows_are_split_by_time_and_the_blocks_hold_the_rows_the_raw_files_do(raw, dataset):
    table = raw_table(raw)
    labelled = ~np.isnan(table["arr_delay"].astype(float))
    moments = table["time_hour"].astype("datetime64[s]")
    bounds = np.array(["2013-01-01", "2013-09-01", "2013-11-01", "2014-02-01"], "datetime64[s]")
    examples = Examples.read(Path(dataset.path))
    for split, start, end in zip(("training", "validation", "test"), bounds[:-1], bounds[1:], strict=True):
        wanted = labelled & (moments >= start) & (moments < end)
        blocks = [read_block(Path(dataset.path) / block.path, examples) for block in examples.blocks[split]]
        distance = np.concatenate([numbers[examples.numbers.index("distance")] for numbers, _, _ in blocks])
        labels = np.concatenate([label for _, _, label in blocks])
        assert sorted(distance) == sorted(table["distance"][wanted].astype(np.float32))
        assert labels.sum() == (table["arr_delay"][wanted] >= 15).sum()
        assert not np.array_equal(distance, table["distance"][wanted])  # shuffled


@pytest.mark.parametrize(("name", "least_delay"), [("training", -np.inf), ("positive", 15)])
def test_the_statistics_of_the_training_rows_and_of_the_late_ones_are_those_numpy_finds(
    raw, dataset, name, least_delay
):
    table = raw_table(raw)
    rows = table["arr_delay"].astype(float) >= least_delay  # a flight that never arrived has none
    rows &= table["time_hour"].astype("datetime64[s]") < np.datetime64("2013-09-01")
    found = statistics.read_statistics(Path(dataset.path))[name]
    assert (found["late"].count, found["late"].missing) == (rows.sum(), 0)
    assert isinstance(found["temp"], NumberStatistics)
    assert isinstance(found["departure_minute"], NumberStatistics)
    assert isinstance(found["carrier"], CategoryStatistics)
    temp = table["temp"][rows].astype(float)
    assert found["temp"].count == (~np.isnan(temp)).sum()
    assert found["temp"].mean == pytest.approx(np.nanmean(temp), rel=1e-6)
    assert found["temp"].variance == pytest.approx(np.nanvar(temp), rel=1e-5)
    names, counts = np.unique(table["carrier"][rows].astype(str), return_counts=True)
    assert dict(found["carrier"].categories) == dict(zip(names, counts, strict=True))
    departure = table["sched_dep_time"][rows]
    assert found["departure_minute"].max == (departure // 100 * 60 + departure % 100).max()


def exact(dataset, number: Callable[[float], Any] = float):
    """What of the statistics is the same however rows were cut: all but the sketches, and how many different numbers
    `derive` has made, whose last bit depends on what is computed together; `number` makes the means.
    """
    found = json.loads((Path(dataset.path) / "statistics.json").read_text())
    for columns in found.values():
        for name, column in columns["columns"].items():
            column.pop("kll", None)
            column.pop("hll", None)
            if name in load_problem("flights").derived:
                column.pop("distinct", None)
                column.pop("smallest_hashes", None)
            for field in ("mean", "m2"):
                if field in column:
                    column[field] = number(column[field])
    return found


def test_small_pieces_several_processes_and_parquet_files_give_the_same_dataset_and_say_how_far_they_are(
    raw, dataset, tmp_path, monkeypatch, capfd
):
    for path in Path(raw.path).glob("*.csv"):
        pq.write_table(pa_csv.read_csv(path), tmp_path / f"{path.stem}.parquet", row_group_size=1000)
    flags = ("--problem", "flights", "--artifacts", tmp_path)
    parquet = run("preprocess", *flags, "--raw", tmp_path, "--processes", 2, folder=tmp_path)
    while_it_ran, the_end = "1,000 rows read", f"{ROWS:,} rows read"  # said by a worker; by the runner
    assert {while_it_ran, the_end} <= set(capfd.readouterr().out.splitlines())
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 50_000)
    monkeypatch.setattr(csv_blocks, "PIECE_BYTES", 100_000)
    pieces = run("preprocess", *flags, "--raw", raw.path, folder=tmp_path)
    assert the_end in capfd.readouterr().out.splitlines()
    expected = exact(dataset, number=lambda value: pytest.approx(value, rel=1e-6, abs=1e-6))
    for found in (parquet, pieces):
        assert found.counts == dataset.counts
        assert exact(found) == expected


def test_weekdays_are_those_of_the_calendar(raw):
    table = raw_table(raw)
    flights = load_problem("flights")
    columns = {n: tf.constant(table[n].astype(np.float32)) for n in flights.inputs if table[n].dtype != object}
    days = np.array([f"{y}-{m:02}-{d:02}" for y, m, d in zip(table["year"], table["month"], table["day"], strict=True)])
    sunday_is_0 = (days.astype("datetime64[D]").astype(int) + 4) % 7
    assert np.array_equal(graph.derive(flights, columns)["weekday"].numpy(), sunday_is_0)


def test_a_stage_that_is_done_is_found_and_not_done_again(artifacts, raw, dataset):
    again = run("preprocess", "--problem", "flights", "--artifacts", artifacts, "--raw", raw.path, folder=artifacts)
    assert again.reused
    assert again.digest == dataset.digest


def changed_problem(tmp_path, old, new):
    text = FLIGHTS.read_text()
    assert old in text
    path = tmp_path / "flights.py"
    path.write_text(text.replace(old, new))
    return path


def test_a_changed_feature_reuses_the_dataset_and_a_changed_derive_does_not(artifacts, raw, dataset, tmp_path):
    feature = changed_problem(tmp_path, 'Scaled("seats")', 'Scaled("seats", by="min_max")')
    again = run("preprocess", "--problem", feature, "--artifacts", artifacts, "--raw", raw.path, folder=artifacts)
    assert (again.reused, again.digest) == (True, dataset.digest)
    derive = changed_problem(tmp_path, "* 30.5", "* 30.0")
    again = run("preprocess", "--problem", derive, "--artifacts", tmp_path, "--raw", raw.path, folder=tmp_path)
    assert Path(again.path).name != Path(dataset.path).name


def test_a_study_runs_with_the_raw_files_out_of_reach_and_keeps_every_trial(study):
    found = json.loads((Path(study.path) / "study.json").read_text())
    assert [trial["state"] for trial in found["trials"]].count("COMPLETE") >= 1
    assert len(found["trials"]) == 3 == sum(study.counts.values())
    assert set(found["best"]["hyperparameters"]) == set(load_problem("flights").search_space())
    values = [trial["value"] for trial in found["trials"] if trial["state"] == "COMPLETE"]
    assert found["best"]["value"] == max(values)


def test_a_network_of_other_bucket_counts_is_built_without_a_raw_or_example_file(dataset, tmp_path, opened_files):
    copy = shutil.copytree(dataset.path, tmp_path / "dataset")
    flights = load_problem("flights")
    opened = Dataset.open(copy, flights)
    shutil.rmtree(copy / "examples")  # what TensorFlow would open is not there
    name = "departure_minute_bucketized"
    assert f"{name}.buckets" in flights.search_space()
    opened_files.clear()
    ids = [
        Network(flights, opened.statistics, opened.examples, {f"{name}.buckets": buckets}).featurizer.specs()[name].ids
        for buckets in (5, 30)
    ]
    assert ids == [5 + 2, 30 + 2]
    assert not [path for path in opened_files if path.endswith((".block", ".csv", ".parquet")) or "/examples/" in path]
    with pytest.raises(FileNotFoundError):
        read_block(copy / opened.examples.blocks["training"][0].path, opened.examples)
    assert opened_files[-1].endswith(".block")  # it would have been seen


def test_training_sees_every_example_in_every_epoch(model, dataset):
    assert model.counts["examples_seen"] == 2 * dataset.counts["training"]


def test_training_learns_from_a_few_thousand_rows(tmp_path, dataset):
    flags = ("train", "--problem", "flights", "--artifacts", tmp_path, "--dataset", dataset.path, "--epochs", 8)
    assert run(*flags, folder=tmp_path).metrics["validation"]["auc"] > 0.6


def test_the_exported_model_was_proven_on_every_evaluation_row(model, dataset):
    assert model.metrics["export"]["splits"] == {split: dataset.counts[split] for split in ("validation", "test")}
    assert model.metrics["export"]["left_out"] == 0
    assert model.metrics["export"]["max_difference"] <= export.TOLERANCE


def test_the_seal_chains_the_model_to_the_raw_files(model, dataset, study, raw):
    chain = sealed.verify_lineage(Path(model.path))
    assert {kind: manifest.digest for kind, manifest in chain.items()} == {
        "model": model.digest,
        "study": study.digest,
        "dataset": dataset.digest,
        "raw": raw.digest,
    }
    assert chain["model"].inputs == {"dataset": dataset.digest, "study": study.digest}
    assert chain["dataset"].inputs == {"raw": raw.digest}


def test_the_served_signature_answers_raw_rows_of_the_csv_as_sealed(model, raw):
    schema = json.loads((Path(model.path) / "schema.json").read_text())
    names = [column["name"] for column in schema["columns"]]
    assert {"arr_delay", "dep_delay", "dep_time", "arr_time", "air_time"} <= set(schema["ignored"])
    table = raw_table(raw)
    late = np.flatnonzero(table["time_hour"].astype("datetime64[s]") >= np.datetime64("2013-11-01"))[:50]
    signature = tf.saved_model.load(str(Path(model.path) / "saved_model")).signatures["serving_default"]
    inputs = {}
    for column in schema["columns"]:
        values = table[column["name"]][late]
        if column["type"] == "category":
            inputs[column["name"]] = tf.constant([value or "" for value in values])
        else:
            inputs[column["name"]] = tf.constant(values.astype(np.float32))
    whole = signature(**inputs)["predictions"].numpy()
    assert list(inputs) == names
    assert ((whole > 0) & (whole < 1)).all()
    one = [signature(**{n: v[i : i + 1] for n, v in inputs.items()})["predictions"].numpy()[0] for i in range(5)]
    assert one == pytest.approx(whole[:5], abs=1e-6)


def test_a_model_whose_file_was_changed_is_trained_again_and_not_reused(tmp_path, dataset):
    flags = ("train", "--problem", "flights", "--artifacts", tmp_path, "--dataset", dataset.path, "--epochs", 1)
    first = run(*flags, folder=tmp_path)
    assert run(*flags, folder=tmp_path).reused
    (Path(first.path) / "schema.json").write_text("{}")
    assert not run(*flags, folder=tmp_path).reused


def fail(capsys, *arguments):
    """The exit code and the one line for the person."""
    code = main([str(argument) for argument in arguments])
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback" not in "".join(lines)
    assert sum(line.startswith("error: ") for line in lines) == 1
    return code, lines[-1]


def test_too_many_malformed_rows_stop_the_run_with_the_first_and_seal_nothing(raw, tmp_path, capsys):
    broken = tmp_path / "broken.csv"
    lines = next(Path(raw.path).glob("*.csv")).read_text().splitlines()[:50]
    lines[7] = lines[7].replace(",", ",x", 1)
    lines[9] = "too,few"
    broken.write_text("\n".join(lines))
    flags = ("--problem", "flights", "--artifacts", tmp_path, "--raw", broken)
    code, message = fail(capsys, "preprocess", *flags, "--bad-rows-allowed", "0.01")
    assert code == 2
    assert "2 of 49 rows are malformed, 4.08%" in message
    assert "broken.csv line 8, column 'month'" in message
    assert not list(tmp_path.glob("dataset/[0-9a-f]*"))
    kept = next((tmp_path / "dead_letters").iterdir())
    assert [json.loads(line)["line"] for line in kept.read_text().splitlines()] == [8, 10]


def test_allowed_malformed_rows_are_kept_beside_the_dataset_and_counted(raw, tmp_path):
    source = sorted(Path(raw.path).glob("*.csv"))
    for path in source:
        (tmp_path / path.name).write_text(path.read_text() + ("too,few\n" if path is source[0] else ""))
    found = run("preprocess", "--problem", "flights", "--artifacts", tmp_path, "--raw", tmp_path, folder=tmp_path)
    assert found.counts["dead_letter"] == 1
    assert found.counts["rows"] == ROWS + 1
    (letter,) = (Path(found.path) / "dead_letters.jsonl").read_text().splitlines()
    assert json.loads(letter)["reason"] == "2 fields where the header has 32"


def test_a_pattern_without_files_and_a_file_that_is_no_dataset_are_named(tmp_path, capsys):
    flags = ("--problem", "flights", "--artifacts", tmp_path)
    assert "matches no CSV or Parquet file" in fail(capsys, "preprocess", *flags, "--raw", tmp_path / "none*.csv")[1]
    assert "is no sealed artifact" in fail(capsys, "train", *flags, "--dataset", tmp_path)[1]


def test_a_wrong_column_name_in_the_problem_names_the_file_and_the_closest_column(tmp_path, raw, capsys):
    wrong = changed_problem(tmp_path, '"humid"', '"humidd"')
    flags = ("--problem", wrong, "--artifacts", tmp_path, "--raw", raw.path)
    code, message = fail(capsys, "preprocess", *flags)
    assert code == 2
    assert "column 'humidd' is declared in the problem" in message
    assert "did you mean 'humid'?" in message


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system has no limit on a file's size")
@pytest.mark.parametrize("stage", ["raw", "preprocess"])
def test_a_file_that_cannot_be_written_is_said_in_one_line_and_leaves_nothing_behind(raw, tmp_path, stage):
    flags = ["--problem", "flights", "--artifacts", str(tmp_path / "a")]
    flags += ["--rows", "2000", "--shards", "1"] if stage == "raw" else ["--raw", raw.path]
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from penstock_trainer.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", code, stage, *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == [done.stderr.splitlines()[-1]]
    assert "File too large" in done.stderr
    assert [path for path in (tmp_path / "a").rglob("*") if path.is_file()] == []


def test_a_full_disk_is_said_and_nothing_half_written_is_trusted(tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", str(tmp_path / "x"))

    monkeypatch.setattr(stages.Stage, "seal", full)
    code, message = fail(capsys, "raw", "--problem", "flights", "--artifacts", tmp_path, "--rows", 100)
    assert code == 2
    assert f"no space left on the disk of {tmp_path}" in message
    assert "MB free" in message
    monkeypatch.undo()
    assert not run("raw", "--problem", "flights", "--artifacts", tmp_path, "--rows", 100, folder=tmp_path).reused
