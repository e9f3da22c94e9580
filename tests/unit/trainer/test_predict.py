import json
import shutil
from pathlib import Path

import go_programs
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from penstock_trainer import predict, runners
from penstock_trainer.__main__ import main
from penstock_trainer.artifacts import Manifest, verify_lineage
from penstock_trainer.predict import TYPES, Asked
from penstock_trainer.problem import Category

from . import _heavy
from ._birds import birds
from .conftest import run

BAD = 7


@pytest.fixture(scope="module")
def table(raw):
    """The raw flights with a key that the model does not know."""
    whole = pa.concat_tables([pa_csv.read_csv(path) for path in sorted(Path(raw.path).glob("*.csv"))])
    return whole.append_column("id", pa.array([f"flight {place}" for place in range(whole.num_rows)]))


@pytest.fixture(scope="module")
def predicted(model, table, tmp_path_factory):
    """The predictions of a CSV and a Parquet file; in the CSV, some rows have no month, which is required."""
    folder = tmp_path_factory.mktemp("predict")
    half = table.num_rows // 2
    rows = table.slice(0, half)
    months = rows["month"].to_pylist()
    months[:BAD] = [None] * BAD
    place = rows.column_names.index("month")
    pa_csv.write_csv(rows.set_column(place, "month", pa.array(months)), folder / "new.csv")
    pq.write_table(table.slice(half), folder / "new.parquet")
    return run(
        *("predict", "--model", model.path, "--raw", folder / "new.csv", "--raw", folder / "new.parquet"),
        *("--keep", "id", "--keep", "carrier", "--output", folder),
        folder=folder,
    )


def served(model, table):
    """The model's own answers, row by row of the table."""
    signature = tf.saved_model.load(f"{model.path}/saved_model").signatures["serving_default"]
    schema = json.loads((Path(model.path) / "schema.json").read_text())
    raw = {}
    for column in schema["columns"]:
        values = table[column["name"]]
        if column["type"] == "category":
            raw[column["name"]] = tf.constant(values.cast(pa.string()).fill_null("").to_pylist())
        else:
            raw[column["name"]] = tf.constant(values.cast(pa.float64()).to_numpy().astype(np.float32))
    return signature(**raw)["predictions"].numpy()


def test_every_row_is_answered_as_the_model_answers_it(predicted, model, table):
    found = pq.read_table(Path(predicted.path) / "predictions").sort_by("id")
    assert found.column_names == ["id", "carrier", "prediction"]
    wanted = table.append_column("answer", pa.array(served(model, table))).slice(BAD).sort_by("id")
    assert found["id"].to_pylist() == wanted["id"].to_pylist()
    assert found["carrier"].to_pylist() == wanted["carrier"].to_pylist()
    np.testing.assert_allclose(found["prediction"].to_numpy(), wanted["answer"].to_numpy(), atol=1e-6, rtol=0)


def test_workers_that_share_nothing_but_a_bucket_give_the_very_same_answers(predicted, model, storage, tmp_path):
    storage.create_dir("answers")
    root = Path(predicted.path).parent.parent
    for name in ("new.csv", "new.parquet"):
        with storage.open_output_stream(f"answers/{name}") as file:
            file.write((root / name).read_bytes())
    schema = json.loads((Path(model.path) / "schema.json").read_text())
    taken = {column.pop("name"): TYPES[column.pop("type")](**column) for column in schema["columns"]}
    asked = Asked(taken, ["id"], {**taken, "id": Category()}, ())
    paths = ["gs://answers/new.csv", "gs://answers/new.parquet"]
    options = runners.beam_options("in-process", 1, [], tmp_path)
    (tmp_path / "made").mkdir()
    counts = predict.run(options, paths, Path(model.path), asked, tmp_path / "made", "gs://answers/tmp/penstock-x")
    assert counts == predicted.counts
    found, wanted = (
        pq.read_table(path / "predictions").sort_by("id") for path in (tmp_path / "made", Path(predicted.path))
    )
    assert found.equals(wanted.select(["id", "prediction"]))
    assert len((tmp_path / "made" / "dead_letters.jsonl").read_text().splitlines()) == BAD


def test_prism_answers_as_the_process_itself_does(predicted, model, tmp_path, capsys):
    root = Path(predicted.path).parent.parent
    flags = ("--raw", root / "new.parquet", "--keep", "id", "--output", tmp_path, "--runner", "prism", "--processes", 2)
    prism = f"--prism_location={go_programs.program('prism')}"
    found = run("predict", "--model", model.path, *flags, "--", prism, folder=tmp_path)
    answers = pq.read_table(Path(found.path) / "predictions")
    whole = pq.read_table(Path(predicted.path) / "predictions").select(["id", "prediction"])
    there = set(answers["id"].to_pylist())
    wanted = whole.filter(pa.array([id_ in there for id_ in whole["id"].to_pylist()])).sort_by("id")
    answers = answers.sort_by("id")
    assert answers["id"].equals(wanted["id"])
    # Rows come in other batches, which changes a number's last bits.
    assert answers["prediction"].to_numpy() == pytest.approx(wanted["prediction"].to_numpy(), abs=1e-6)
    assert answers.num_rows == found.counts["predicted"] == found.counts["rows"]
    assert f"{answers.num_rows:,} rows read" in capsys.readouterr().out


def test_raw_files_that_dataflows_workers_do_not_reach_are_refused(model, raw, tmp_path, capsys):
    command = ["predict", "--model", model.path, "--raw", raw.path, "--output", str(tmp_path), "--runner", "dataflow"]
    assert main(command) == 2
    assert "raw files must begin with gs://" in capsys.readouterr().err


def test_rows_that_are_malformed_are_dead_letters_and_all_rows_are_counted(predicted, table):
    assert predicted.counts == {"rows": table.num_rows, "predicted": table.num_rows - BAD, "dead_letter": BAD}
    letters = [json.loads(line) for line in (Path(predicted.path) / "dead_letters.jsonl").read_text().splitlines()]
    assert [(letter["line"], letter["column"]) for letter in letters] == [(2 + place, "month") for place in range(BAD)]


def test_the_predictions_are_sealed_with_the_chain_to_the_model_and_to_both_raw_files(predicted, model):
    chain = verify_lineage(Path(predicted.path))
    assert chain["predictions"].inputs["model"] == chain["model"].digest == model.digest
    assert chain.keys() == {"predictions", "model", "input", "dataset", "study", "raw"}
    assert {Path(path).name for path in chain["input"].files} == {"new.csv", "new.parquet"}


def test_the_same_predictions_are_not_made_twice(predicted, model, tmp_path):
    root = Path(predicted.path).parent.parent
    raw = ["--raw", root / "new.csv", "--raw", root / "new.parquet"]
    again = run(
        *("predict", "--model", model.path, *raw, "--keep", "id", "--keep", "carrier", "--output", root),
        folder=tmp_path,
    )
    assert again.reused
    assert again.digest == predicted.digest


def test_by_default_the_columns_that_the_model_reads_are_kept(model, raw, tmp_path):
    found = run("predict", "--model", model.path, "--raw", raw.path, "--output", tmp_path, folder=tmp_path)
    schema = json.loads((Path(model.path) / "schema.json").read_text())
    table = pq.read_table(Path(found.path) / "predictions")
    assert table.column_names == [*(column["name"] for column in schema["columns"]), "prediction"]
    assert table.num_rows == found.counts["rows"] == raw.counts["rows"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--keep", "carier"], "did you mean 'carrier'?"),
        (["--keep", "prediction"], "'prediction' is the name of the answer's column"),
    ],
)
def test_a_column_that_cannot_be_kept_is_refused_by_name(model, raw, tmp_path, capsys, flags, said):
    command = ["predict", "--model", model.path, "--raw", raw.path, "--output", str(tmp_path), *flags]
    assert main(command) == 2
    assert said in capsys.readouterr().err


def test_a_model_that_was_tampered_with_answers_nothing(model, raw, tmp_path, capsys):
    copy = shutil.copytree(model.path, tmp_path / "model")
    with (copy / "schema.json").open("a") as file:
        file.write(" ")
    assert main(["predict", "--model", str(copy), "--raw", raw.path, "--output", str(tmp_path)]) == 2
    assert "schema.json has digest" in capsys.readouterr().err
    assert Manifest.read(Path(model.path)).digest == model.digest


def test_files_without_a_header_line_are_prepared_trained_on_and_answered_by_the_names_the_problem_gives(
    tmp_path, capsys
):
    table = birds(300)
    problem, raw = tmp_path / "headless.py", tmp_path / "birds.csv"
    text, features = Path(_heavy.__file__).read_text(), "    features=["
    assert features in text
    problem.write_text(text.replace(features, f"    header={table.column_names},\n{features}"))
    pa_csv.write_csv(table, raw, pa_csv.WriteOptions(include_header=False))
    common = ("--problem", problem, "--artifacts", tmp_path)
    dataset = run("preprocess", *common, "--raw", raw, folder=tmp_path)
    assert (dataset.counts["rows"], dataset.counts["dead_letter"]) == (300, 0)
    model = run("train", *common, "--dataset", dataset.path, "--epochs", 1, folder=tmp_path)
    flags = ("--model", model.path, "--output", tmp_path / "answers", "--keep", "bill", "--keep", "species")
    found = run("predict", *flags, "--raw", raw, folder=tmp_path)
    assert found.counts == {"rows": 300, "predicted": 300, "dead_letter": 0}
    answers = pq.read_table(Path(found.path) / "predictions").sort_by("bill")
    wanted = table.append_column("answer", pa.array(served(model, table))).sort_by("bill")
    assert answers["species"].fill_null("").to_pylist() == wanted["species"].to_pylist()
    np.testing.assert_allclose(answers["prediction"].to_numpy(), wanted["answer"].to_numpy(), rtol=1e-5)
    pa_csv.write_csv(table, raw)
    assert main([str(flag) for flag in ("predict", *flags, "--raw", raw)]) == 2
    assert "begins with a header line" in capsys.readouterr().err
