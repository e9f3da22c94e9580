"""What an observer counts is what was answered: every row once, in the right window, with bounded memory."""

import logging
import time

import numpy as np
import pytest

from penstock_serving.backends import Categories, Columns
from penstock_serving.schema import Column, ColumnType
from penstock_serving.skew import observing
from penstock_serving.skew.observing import Observer
from penstock_serving.skew.windows import merged
from penstock_trainer import statistics
from penstock_trainer.statistics import CategoryStatistics, NumberStatistics

WHEN = Column("when", ColumnType.TIMESTAMP, required=False, parts=("hour", "year"))
COLUMNS = (
    Column("distance", ColumnType.NUMBER, required=True),
    Column("seats", ColumnType.INTEGER, required=False),
    Column("carrier", ColumnType.CATEGORY, required=False),
)
WORDS = {2: ["UA", "AA"]}


@pytest.fixture
def observe():
    """An observer of those columns whose clock is the test's, and the windows that it has finished."""
    finished, now = [], [1000.0]

    def make(seconds: float = 300.0, columns: tuple[Column, ...] = COLUMNS) -> Observer:
        return Observer(columns, "sha256:m", seconds, lambda window, _: finished.append(window), clock=lambda: now[0])

    make.finished, make.now = finished, now  # pyright: ignore[reportFunctionMemberAccess]
    return make


def add(observer: Observer, rows: list[tuple], predictions: list[float], size: int = 100) -> None:
    """Rows as a batch of them is answered: column by column."""
    observer.add(Columns(zip(*rows, strict=True)), predictions, size)


def rows(count: int, seed: int = 0) -> list[tuple]:
    random = np.random.default_rng(seed)
    return [
        (float(d), None if s < 100 else float(s), None if c == 3 else ("UA", "B6", "")[c])
        for d, s, c in zip(
            random.gamma(2, 500, count), random.integers(0, 400, count), random.integers(0, 4, count), strict=True
        )
    ]


def test_the_statistics_are_those_that_the_trainer_would_have_made_of_the_same_rows(observe):
    observer, posted = observe(), rows(5000)
    observer.start()
    for start in range(0, 5000, 7):
        part = posted[start : start + 7]
        add(observer, part, [row[0] / 1000 for row in part], 100)
    observer.close()
    (window,) = observe.finished
    assert window.rows == observer.observed == 5000
    distance, seats, carrier = zip(*posted, strict=True)
    expected = NumberStatistics.of(np.array(distance, np.float32))
    found = window.columns["distance"]
    assert (found.count, found.missing, found.min, found.max) == (5000, 0, expected.min, expected.max)
    assert found.mean == pytest.approx(expected.mean, rel=1e-12)
    assert found.m2 == pytest.approx(expected.m2, rel=1e-9)
    assert window.columns["seats"].missing == seats.count(None)
    assert window.columns["carrier"].categories == {"UA": carrier.count("UA"), "B6": carrier.count("B6")}
    assert window.columns["carrier"].missing == carrier.count(None) + carrier.count("")
    assert window.predictions.mean == pytest.approx(expected.mean / 1000, rel=1e-6)


def test_of_a_timestamp_the_parts_are_counted(observe):
    observer = observe(columns=(COLUMNS[0], WHEN))
    observer.start()
    for second in (0, None, -1, 86_400 * 365 + 7200):
        add(observer, [(1.0, second)], [0.5])
    observer.close()
    (window,) = observe.finished
    assert window.columns.keys() == {"distance", "when_hour", "when_year"}
    for name, mean, least, most in (("when_hour", 25 / 3, 0, 23), ("when_year", 1970, 1969, 1971)):
        found = window.columns[name]
        assert (found.count, found.missing, found.min, found.max) == (3, 1, least, most)
        assert found.mean == pytest.approx(mean)


def test_categories_that_the_backend_has_looked_up_are_counted_as_those_that_it_has_not(observe):
    posted, known = rows(3000, seed=3), {None: -1, "": -1, "UA": 0}
    coded, plain = observe(), observe()
    for observer in (coded, plain):
        observer.start()
        for start in range(0, 3000, 13):
            columns = Columns(zip(*posted[start : start + 13], strict=True))
            codes = np.array([[known.get(word, -2) for word in columns[2]]], np.int32)
            unknown = [word for word in columns[2] if word not in known]
            if observer is coded and start % 2:
                columns.categories = Categories(WORDS, codes, {2: unknown} if unknown else {})
            observer.add(columns, [0.5] * len(columns[0]), 100)
        observer.close()
    found, expected = (statistics.to_json(window.columns) for window in observe.finished)
    assert found["columns"]["carrier"] == expected["columns"]["carrier"]
    assert found["columns"]["carrier"]["categories"].keys() == {"UA", "B6"}


def test_windows_end_at_multiples_of_their_length_so_that_replicas_have_the_same_ones(observe):
    observer = observe(60.0)
    observer.start()
    add(observer, rows(10), [0.5] * 10, 100)
    observe.now[0] = 1021.0
    wait_for(lambda: observe.finished)
    add(observer, rows(5), [0.5] * 5, 100)
    observer.close()
    assert [(window.rows, window.start, window.end) for window in observe.finished] == [
        (10, 1000, 1020),
        (5, 1021, 1021),
    ]


def test_a_clock_that_goes_back_finishes_the_window_and_later_ones_are_of_another_name(observe):
    names = []
    observer = observe(60.0)
    observer._on_window = lambda window, name: names.append(name) or observe.finished.append(window)
    observer.start()
    for now in (1021.0, 961.0, 1021.0):
        add(observer, rows(10), [0.5] * 10)
        observe.now[0] = now
        wait_for(lambda: observer._window.start == now)  # noqa: B023 (called at once)
    observer.close()
    assert [(window.rows, window.start, window.end) for window in observe.finished] == [
        (10, 1000, 1020),
        (10, 1021, 1021),
        (10, 961, 1020),
    ]
    assert [name == names[0] for name in names] == [True, True, False]


def test_a_window_without_rows_is_none(observe):
    observer = observe()
    observer.start()
    observer.close()
    assert observe.finished == []


def test_an_infinite_prediction_counts_as_missing(observe):
    observer = observe()
    observer.start()
    add(observer, rows(3), [0.5, float("inf"), float("nan")], 100)
    observer.close()
    assert (observe.finished[0].predictions.mean, observe.finished[0].predictions.missing) == (0.5, 2)


def test_a_flood_of_categories_is_bounded_in_number_and_length(observe):
    observer = observe()
    observer.start()
    for start in range(0, 30_000, 500):
        flood = [(1.0, None, f"{place:06d}" + "x" * 1000) for place in range(start, start + 500)]
        add(observer, flood, [0.5] * 500, 5000)
    observer.close()
    carrier = observe.finished[0].columns["carrier"]
    assert isinstance(carrier, CategoryStatistics)
    assert carrier.count == 30_000
    assert len(carrier.categories) <= observing.MOST_CATEGORIES
    assert max(map(len, carrier.categories)) == 128
    assert len(str(statistics.to_json(observe.finished[0].columns))) < 3_000_000


def test_what_waits_beyond_the_bounds_is_let_go_and_counted(observe, monkeypatch):
    monkeypatch.setattr(observing, "BLOCK_ROWS", 40)
    monkeypatch.setattr(observing, "WAITING_BLOCKS", 1)
    observer = observe()
    for _ in range(5):
        add(observer, rows(38), [0.5] * 38)
    assert (observer.observed, observer.unobserved) == (152, 38)
    observer.start()
    observer.close()
    assert observe.finished[0].rows == 152


def test_bytes_that_wait_are_bounded_too(observe, monkeypatch):
    monkeypatch.setattr(observing, "BLOCK_BYTES", 900)
    monkeypatch.setattr(observing, "WAITING_BYTES", 1000)
    observer = observe()
    for _ in range(4):
        add(observer, rows(1), [0.5], 900)
    assert (observer.observed, observer.unobserved) == (3, 1)


def test_a_request_larger_than_a_block_is_observed_as_a_whole(observe):
    observer = observe()
    add(observer, rows(20_000), [0.5] * 20_000)
    assert (observer.observed, observer.unobserved) == (20_000, 0)
    observer.start()
    observer.close()
    assert observe.finished[0].rows == 20_000


def test_rows_that_come_one_by_one_are_counted_as_if_they_came_at_once(observe):
    received, predictions = rows(1000), [place / 1000 for place in range(1000)]
    for size in (1000, 1):
        observer = observe()
        for start in range(0, 1000, size):
            add(observer, received[start : start + size], predictions[start : start + size])
        observer.start()
        observer.close()
    at_once, one_by_one = observe.finished
    for name, column in at_once.columns.items():
        own, other = column.to_json(), one_by_one.columns[name].to_json()
        assert own == other, name
    assert at_once.predictions.to_json() == one_by_one.predictions.to_json()
    assert at_once.rows == one_by_one.rows == 1000


def test_a_fault_in_keeping_a_window_ends_nothing_and_no_value_is_logged(caplog):
    def fail(_window, _replica):
        raise RuntimeError("UA 1400")

    observer = Observer(COLUMNS, "sha256:m", 300.0, fail)
    observer.start()
    add(observer, rows(3), [0.5] * 3, 100)
    with caplog.at_level(logging.ERROR):
        observer.close()
    assert [record.getMessage() for record in caplog.records] == ["observing failed"]


def test_windows_of_parts_add_up_to_the_window_of_the_whole(observe):
    posted = rows(3000, seed=9)
    for part in (posted[:1000], posted[1000:1001], posted[1001:], posted):
        observer = observe()
        observer.start()
        add(observer, part, [0.5] * len(part), 100)
        observer.close()
    *parts, whole = observe.finished
    total = merged(parts)
    assert total.rows == 3000
    for name in ("distance", "carrier"):
        found, expected = (statistics.to_json({name: each.columns[name]})["columns"][name] for each in (total, whole))
        for key in ("count", "missing", "mean", "m2", "min", "max", "categories"):
            assert key not in expected or found[key] == pytest.approx(expected[key], rel=1e-9), (name, key)


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
