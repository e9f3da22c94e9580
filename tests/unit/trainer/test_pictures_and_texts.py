"""Pictures and texts, from a Parquet file to a served answer."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from penstock_trainer import beam_pipeline, graph, parts, pictures, sources
from penstock_trainer.__main__ import main
from penstock_trainer.errors import InputError
from penstock_trainer.examples import Examples, read_block
from penstock_trainer.problem import Image, Number, Text, load_problem
from penstock_trainer.statistics import TextStatistics, read_statistics

from . import _toy
from .conftest import run

PROBLEM = str(Path(__file__).with_name("_digits.py"))
GREY = Image(height=8, width=8, channels=1)
PIXELS, DIGITS = load_digits(return_X_y=True)
SCANS = (np.asarray(PIXELS).reshape(-1, 8, 8) * 15).astype(np.uint8)
NAMES = ["nought", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def png(picture: np.ndarray) -> bytes:
    return tf.io.encode_png(tf.constant(picture, tf.uint8)).numpy()


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    rows = len(DIGITS)
    scans: list[bytes | None] = [png(scan[:, :, np.newaxis]) for scan in SCANS]
    scans[5], scans[1000] = None, b"GIF of nothing at all"
    # Every third row's remark tells the digit, if one knows the words; one has none.
    remarks: list[str | None] = [f"It's a {NAMES[digit]}, I'd SAY: page {row}" for row, digit in enumerate(DIGITS)]
    remarks = [remark if row % 3 else "illegible!" for row, remark in enumerate(remarks)]
    remarks[7] = None
    moments = np.datetime64("2013-01-01") + np.arange(rows) * 365 // rows
    table = pa.table(
        {
            "scanned": pa.array(moments.astype("datetime64[s]")),
            "scan": pa.array([{"bytes": scan, "path": "x.png"} for scan in scans]),
            "remark": remarks,
            "digit": DIGITS,
        }
    )
    path = tmp_path_factory.mktemp("digits") / "digits.parquet"
    pq.write_table(table, path)
    return path


@pytest.fixture(scope="module")
def prepared(raw):
    root = raw.parent
    flags = ("--problem", PROBLEM, "--artifacts", root, "--raw", raw, "--bad-rows-allowed", 0.001)
    return run("preprocess", *flags, folder=root)


@pytest.fixture(scope="module")
def trained(prepared, raw):
    flags = ("--problem", PROBLEM, "--artifacts", raw.parent, "--dataset", prepared.path, "--epochs", 8)
    return run("train", *flags, folder=raw.parent)


def test_every_row_is_counted_and_what_is_no_picture_is_named(prepared):
    assert prepared.counts["rows"] == 1797
    assert prepared.counts["dead_letter"] == 1
    (letter,) = map(json.loads, Path(prepared.path, "dead_letters.jsonl").read_text().splitlines())
    assert (letter["line"], letter["column"]) == (1001, "scan")
    assert letter["reason"] == "not a picture in PNG, JPEG, GIF or BMP"


def test_blocks_hold_pixels_and_tokens_by_rank(prepared):
    folder = Path(prepared.path)
    examples = Examples.read(folder)
    assert examples.cells == {"scan": 16, "remark": 6}
    found = read_statistics(folder)["training"]
    remark = found["remark"]
    assert isinstance(remark, TextStatistics)
    assert remark.missing == 1
    assert found["scan"].missing == 1
    ranked = remark.tokens.ranked()
    assert set(ranked[:5]) == {"it", "s", "a", "i", "d"}  # `say` and the page are beyond the sixth token
    wanted = {scan.tobytes() for scan in SCANS} | {bytes(64)}
    for block in examples.blocks["training"]:
        _, codes, _ = read_block(folder / block.path, examples)
        pixels = np.ascontiguousarray(codes[:16].T).view(np.uint8)
        assert {row.tobytes() for row in pixels} <= wanted
        words = [[ranked[code] for code in row if code >= 0] for row in codes[16:].T]
        assert all(word in (["illegible"], []) or word[:3] == ["it", "s", "a"] for word in words)


def test_the_model_learns_from_both_and_answers_raw_rows_as_it_was_trained(trained):
    manifest = json.loads(Path(trained.path, "manifest.json").read_text())
    assert manifest["metrics"]["test"]["auc"] > 0.9
    proof = manifest["metrics"]["export"]
    assert proof["rows"] == trained.counts["validation"] + trained.counts["test"]
    assert proof["left_out"] == 0
    assert "scan" in manifest["metrics"]["slim"]["reason"]
    samples = json.loads(Path(trained.path, "samples.json").read_text())
    assert samples["instances"][0]["scan"].keys() == {"b64"}


def test_batch_prediction_answers_every_row_as_the_samples_are_answered(trained, raw):
    flags = ("--model", trained.path, "--raw", raw, "--keep", "digit", "--output", raw.parent)
    found = run("predict", *flags, folder=raw.parent)
    assert found.counts == {"rows": 1797, "predicted": 1796, "dead_letter": 1}
    answers = pq.read_table(Path(found.path, "predictions"))
    odd = np.array([int(digit) % 2 == 1 for digit in answers["digit"].to_pylist()])
    probability = answers["prediction"].to_numpy()
    assert ((probability > 0.5) == odd).mean() > 0.85
    flags = ["--model", trained.path, "--raw", str(raw), "--output", str(raw.parent)]
    assert main(["predict", *flags, "--keep", "scan"]) == 2


def test_the_served_graph_takes_any_encoding_size_and_script_and_refuses_what_is_none(trained):
    signature = tf.saved_model.load(str(Path(trained.path, "saved_model"))).signatures["serving_default"]
    large = np.kron(SCANS[3], np.ones((9, 9)))[:, :, np.newaxis]
    jpeg = tf.io.encode_jpeg(tf.constant(large, tf.uint8), quality=100).numpy()

    def ask(scans, remarks):
        return signature(scan=tf.constant(scans), remark=tf.constant(remarks))["predictions"].numpy()

    small, jpegs, missing = ask([png(SCANS[3][:, :, np.newaxis]), jpeg, b""], ["", "", "ÉTUDE — 漢字 \x00"])
    assert abs(small - jpegs) < 0.2
    assert 0 < missing < 1
    with pytest.raises(tf.errors.InvalidArgumentError):
        ask([b"no picture"], [""])


@pytest.mark.parametrize(
    ("start", "sizes"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", np.array([30000, 30000], ">i4")),
        (b"GIF89a", np.array([60000, 60000], "<u2")),
        (b"BM" + bytes(16), np.array([30000, -30000], "<i4")),
    ],
)
def test_a_small_file_of_a_vast_picture_is_refused_before_it_is_decoded(start, sizes):
    with pytest.raises(tf.errors.InvalidArgumentError, match="more than 33,554,432 pixels"):
        graph.pixels(tf.constant([start + sizes.tobytes() + bytes(64)]), GREY)


def test_one_that_is_no_picture_does_not_hide_the_others():
    picture = png(np.full((8, 8, 1), 7))
    found, bad = pictures.decode(pa.chunked_array([pa.array([picture, b"no", None], pa.binary())]), GREY)
    assert bad.tolist() == [False, True, False]
    assert found.is_null().to_pylist() == [False, False, True]
    assert found[0].as_py() == [7] * 64


def test_tokens_are_runs_of_letters_and_digits_in_lower_case_and_the_same_again_when_joined():
    column = Text(tokens=4)
    text = tf.constant(["Ein GROSSER Tag: 3,5km!", "", " ... ", "née à Åbo", "a-b_c"])
    found = parts.to_tokens(text, column)
    words = [[word for word in row if word is not None] for row in found.to_pylist()]
    assert words == [["ein", "grosser", "tag", "3"], [], [], ["née", "à", "åbo"], ["a", "b", "c"]]
    again = parts.to_tokens(tf.constant([" ".join(row) for row in words]), column)
    assert again.to_pylist() == found.to_pylist()


def test_pictures_make_blocks_of_fewer_rows():
    problem = load_problem(PROBLEM)
    assert beam_pipeline.block_rows(problem) == beam_pipeline.BLOCK_ROWS
    columns = {**problem.columns, "scan": Image(height=224, width=224)}
    large = _toy.problem(columns={**_toy.problem().columns, **columns})
    assert beam_pipeline.block_rows(large) == 111


def test_pictures_in_a_csv_file_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("scan\nabc\n")
    with pytest.raises(InputError, match=r"'scan' holds pictures, and .* is CSV"):
        sources.check_file(str(path), {"scan": GREY})


def test_pictures_are_no_business_of_derive():
    toy = _toy.problem(
        columns={**_toy.problem().columns, "scan": GREY},
        derive=lambda columns: {"long": tf.cast(tf.strings.length(columns["scan"]), tf.float32)},
        derived={"long": Number()},
    )
    with pytest.raises(InputError, match="derive reads 'scan', a picture"):
        graph.check(toy)


def test_a_png_file_is_the_picture_it_was_made_of():
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3))
    encoded = png(picture)
    found = graph.pixels(tf.constant([encoded]), Image(height=5, width=7))
    assert found.numpy().reshape(5, 7, 3).tolist() == picture.tolist()
