"""Windows on disk: whole and sealed, or not there."""

import json
import os
import time
from collections import Counter

import numpy as np
import pytest

from penstock_serving.skew.windows import ABANDONED_SECONDS, UNKNOWN, WindowFolder, merged
from penstock_trainer.artifacts import Manifest
from penstock_trainer.errors import InputError

MODEL = "sha256:" + "ab" * 32


@pytest.fixture
def folder(tmp_path) -> WindowFolder:
    return WindowFolder(tmp_path / "observations")


def test_a_window_comes_back_as_it_was_written_and_is_sealed(folder, window, draw):
    written = window(draw(500, 1), 7)
    written.refused = {"distance": Counter(missing=3, type=1), UNKNOWN: Counter(unknown=2)}
    key = folder.write(written, "a1b2")
    assert key == "abababababababab-19700101T003500Z-a1b2"
    read = folder.read(key, MODEL)
    assert (read.rows, read.start, read.end) == (500, 2100, 2400)
    assert read.columns["distance"].mean == written.columns["distance"].mean
    assert read.columns["dest"].categories == written.columns["dest"].categories
    assert read.predictions.count == 500
    assert (read.refused, read.received) == (written.refused, 506)
    total = merged([read, written])
    assert (total.refused["distance"], total.received) == (Counter(missing=6, type=2), 1012)
    manifest = Manifest.read(folder.path / key)
    assert (manifest.kind, manifest.inputs, manifest.counts) == ("observation", {"model": MODEL}, {"rows": 500})
    assert folder.keys(MODEL) == [key]


def test_a_half_written_window_and_one_of_another_model_are_not_seen(folder, window, draw):
    key = folder.write(window(draw(10, 1), 0), "a")
    (folder.path / key / "manifest.json").unlink()
    assert folder.keys(MODEL) == []
    assert folder.keys("sha256:" + "cd" * 32) == []
    assert WindowFolder(folder.path / "nowhere").keys(MODEL) == []


def test_a_window_that_was_changed_is_refused_by_the_file_s_name(folder, window, draw):
    key = folder.write(window(draw(10, 1), 0), "a")
    file = folder.path / key / "statistics.json"
    file.write_text(file.read_text().replace('"missing": 0', '"missing": 1', 1))
    with pytest.raises(InputError, match=r"statistics\.json has digest"):
        folder.read(key, MODEL)


def test_a_sealed_window_that_makes_no_sense_is_refused(folder, window, draw):
    key = folder.write(window(draw(10, 1), 0), "a")
    manifest = json.loads((folder.path / key / "manifest.json").read_text())
    for spoilt in (
        {**manifest, "parameters": {}},
        {**manifest, "kind": "model"},
        {**manifest, "inputs": {"model": "x"}},
    ):
        (folder.path / key / "manifest.json").write_text(json.dumps(spoilt))
        with pytest.raises(InputError, match="is no window of observations"):
            folder.read(key, MODEL)


def test_only_the_newest_windows_are_kept(folder, window, draw):
    keys = [folder.write(window(draw(10, place), place), "a") for place in range(5)]
    folder.keep(MODEL, 2)
    assert folder.keys(MODEL) == keys[-2:]


def test_what_a_killed_process_has_begun_to_write_goes_and_what_another_one_writes_stays(folder, window, draw):
    key = folder.write(window(draw(10, 1), 0), "a")
    names = ("ab" * 8 + "-20260101T000000Z-b", "ab" * 8 + "-20260101T000000Z-c", "cd" * 8 + "-20260101T000000Z-b")
    killed, writing, other = (folder.path / f".{name}.partial" for name in names)
    for partial in (killed, writing, other):
        partial.mkdir()
    long_ago = time.time() - ABANDONED_SECONDS - 60
    for partial in (killed, other):
        os.utime(partial, (long_ago, long_ago))
    folder.keep(MODEL, 2)
    assert {path.name for path in folder.path.iterdir()} == {key, writing.name, other.name}


def test_no_row_can_be_found_in_a_window_s_files(folder, window):
    """A window of many rows holds their sketches; of what was posted together nothing can be put together again."""
    random = np.random.default_rng(2)
    rows = {"distance": random.normal(size=20_000).astype(np.float32)}
    key = folder.write(window(rows, 0), "a")
    assert sum(file.stat().st_size for file in (folder.path / key).iterdir()) < 20_000 * 4 / 3
