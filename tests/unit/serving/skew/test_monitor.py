"""Many windows one after the other: what is judged stays the same, and what is kept of it is little."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from penstock_serving.schema import Column, ColumnType
from penstock_serving.skew.monitor import Monitoring, SkewMonitor
from penstock_serving.skew.watching import HORIZON
from penstock_serving.skew.windows import WindowFolder
from penstock_trainer import statistics as stored

from .conftest import MODEL


@pytest.fixture
def monitor(tmp_path, training, statistics):
    """Makes a monitor whose windows go to a folder, or stay with it."""
    (tmp_path / "statistics.json").write_text(json.dumps(stored.to_json(statistics(training))))
    kinds = {True: ColumnType.CATEGORY, False: ColumnType.NUMBER}
    columns = [Column(name, kinds[values.dtype == object], required=True) for name, values in training.items()]
    sealed: Any = SimpleNamespace(
        directory=tmp_path, digest=MODEL, schema=SimpleNamespace(columns=columns, names=list(training))
    )

    def made(folder=None):
        found = SkewMonitor("flights", "1", sealed, Monitoring(folder))
        found._prepare()
        return found

    return made


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The windows whose statistics are read from a folder, by their keys."""
    keys, reading = [], WindowFolder.read
    monkeypatch.setattr(WindowFolder, "read", lambda self, key, model: keys.append(key) or reading(self, key, model))
    return keys


def whole(monitor):
    return [window for window in monitor._windows.values() if window.columns]


@pytest.mark.parametrize("kept_in", ["folder", "process"])
def test_of_many_windows_the_statistics_of_a_few_are_kept_and_the_verdict_is_that_of_all(
    monitor, window, draw, read, tmp_path, kept_in
):
    found = monitor(tmp_path / "observations" if kept_in == "folder" else None)
    for place in range(HORIZON + 4):
        rows = draw(400, place)
        if place >= HORIZON:
            rows["distance"] = rows["distance"] * 3
        found._keep(window(rows, place), "a")
        assert len(whole(found)) <= 3
    assert len(found._windows) == len(found.verdict.stretches) == HORIZON
    assert (found.status, found.verdict.since["distance"]["mean_shift"]) == ("skew", (300.0 * HORIZON, True))
    assert found.to_json()["columns"]["distance"]["serving"]["mean"] > 2000, "the last window is shown whole"
    assert read == []


def test_a_process_that_begins_reads_what_can_still_be_looked_at_once_and_judges_the_same(
    monitor, window, draw, read, tmp_path
):
    first = monitor(tmp_path / "observations")
    for place in range(HORIZON + 4):
        first._keep(window(draw(400, place), place), "a")
    second = monitor(tmp_path / "observations")
    assert (len(read), whole(second)) == (HORIZON, [])
    measures = [[stretch.measures for stretch in each.verdict.stretches] for each in (first, second)]
    assert measures[0] == measures[1]
    second._keep(window(draw(400, 99), HORIZON + 4), "b")
    assert len(read) == HORIZON


def test_a_late_window_of_another_process_is_looked_at_with_those_of_its_time(monitor, window, draw, read, tmp_path):
    found, folder = monitor(tmp_path / "observations"), WindowFolder(tmp_path / "observations")
    for place in range(6):
        found._keep(window(draw(400, place), place), "a")
    for place in (1, 5):
        folder.write(window(draw(300, 50 + place), place), "b")
    found._keep(window(draw(400, 6), 6), "a")
    assert [stretch.window.rows for stretch in found.verdict.stretches] == [400, 700, 400, 400, 400, 700, 400]
    assert [key.rpartition("-")[2] for key in read] == ["a", "b", "b"], "its own of time 5 it still has"


def test_a_window_that_cannot_be_read_any_more_counts_no_row(monitor, window, draw, tmp_path, caplog):
    folder = WindowFolder(tmp_path / "observations")
    keys = [folder.write(window(draw(400, place), place), "b") for place in range(3)]
    found = monitor()
    found._folder = folder
    reading, statistics = folder.read, folder.path / keys[1] / "statistics.json"
    folder.read = lambda key, model: statistics.unlink(missing_ok=True) or reading(key, model)
    found._judge()
    assert [stretch.window.rows for stretch in found.verdict.stretches] == [400, 0, 400]
    assert "a window is left out" in caplog.text
