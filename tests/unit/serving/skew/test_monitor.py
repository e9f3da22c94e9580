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

    def made(folder=None, **settings):
        found = SkewMonitor("flights", "1", sealed, Monitoring(folder, **settings))
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
    monitor, window, draw, read, tmp_path, monkeypatch
):
    first = monitor(tmp_path / "observations")
    for place in range(HORIZON + 4):
        first._keep(window(draw(400, place), place), "a")
    second = monitor(tmp_path / "observations")
    assert (len(read), whole(second)) == (HORIZON, [])
    measures = [[stretch.measures for stretch in each.verdict.stretches] for each in (first, second)]
    assert measures[0] == measures[1]
    monkeypatch.setattr(WindowFolder, "outline", None)
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


@pytest.mark.parametrize("kept_in", ["folder", "process"])
def test_windows_of_few_rows_are_judged_however_long_it_takes_and_kept_as_little(
    monitor, window, draw, tmp_path, kept_in
):
    """200 rows in 50 windows, which are more than are looked back on."""
    folder = tmp_path / "observations" if kept_in == "folder" else None
    found, statuses = monitor(folder), []
    for place in range(160):
        rows = draw(4, place)
        rows["distance"] = rows["distance"] * 5
        found._keep(window(rows, place), "a")
        statuses.append(found.status)
        assert len(whole(found)) <= 3
    assert statuses == ["waiting"] * 49 + ["moved"] * 50 + ["skew"] * 61
    assert [stretch.window.rows for stretch in found.verdict.stretches] == [200, 200]
    assert (len(found._windows), found.verdict.waiting_rows) == (110 if folder else 5, 40)
    assert found.verdict.since["distance"]["mean_shift"] == (15_000.0, True)
    if folder:
        again = monitor(folder)
        assert (again.status, whole(again)) == ("skew", [])
        assert len(again._windows) < 160, "no further back than a verdict looks"


def test_what_is_not_in_the_folder_any_more_waits_no_longer(monitor, window, draw, tmp_path):
    found = monitor(tmp_path / "observations", kept_windows=20)
    for place in range(60):
        found._keep(window(draw(4, place), place), "a")
    assert (found.status, found.verdict.waiting_rows, len(found._windows)) == ("waiting", 80, 20)


@pytest.mark.parametrize("kept_in", ["folder", "process"])
def test_a_clock_that_goes_back_stops_no_judging(monitor, window, draw, tmp_path, kept_in):
    found = monitor(tmp_path / "observations" if kept_in == "folder" else None)
    for place in range(8):
        found._keep(window(draw(400, place), place), "a")
    for place in range(3, 9):
        found._keep(window(draw(400, 50 + place), place), "b")
        assert found.verdict.stretches[-1].window.start == 300 * place, "the last verdict is of what came last"
    together = [400] * 3 + ([400] * 6 if kept_in == "process" else [*[800] * 5, 400])
    assert [stretch.window.rows for stretch in found.verdict.stretches] == together


def test_a_monitor_that_has_nothing_to_compare_with_keeps_no_window(monitor, window, draw, tmp_path, caplog):
    (tmp_path / "statistics.json").unlink()
    found = monitor()
    found._keep(window(draw(400, 1), 0), "a")
    assert (found.status, found._windows) == ("unavailable", {})
    assert "no skew comparison" in caplog.text
