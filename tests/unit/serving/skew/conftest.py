"""A population of rows to draw training rows and windows from."""

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from penstock_serving.skew.comparison import Rules
from penstock_serving.skew.watching import Watch
from penstock_serving.skew.windows import Window
from penstock_trainer.statistics import CategoryStatistics, ColumnStatistics, NumberStatistics

MODEL = "sha256:" + "ab" * 32
Rows = Mapping[str, np.ndarray]


def population(rows: int, seed: int) -> dict[str, np.ndarray]:
    """Columns of many shapes: skewed, with atoms, constant, with missing values; few and many categories."""
    random = np.random.default_rng(seed)
    temp = random.normal(55, 18, rows)
    temp[random.random(rows) < 0.03] = np.nan
    zipf = np.minimum(random.zipf(1.7, rows), 3000)
    return {
        "distance": random.lognormal(6.7, 0.7, rows).astype(np.float32),
        "temp": temp.astype(np.float32),
        "precip": np.where(random.random(rows) < 0.93, 0, random.exponential(0.05, rows)).astype(np.float32),
        "year": np.full(rows, 2013, np.float32),
        "month": random.integers(1, 13, rows).astype(np.float32),
        "origin": random.choice(np.array(["EWR", "JFK", "LGA"], object), rows, p=[0.4, 0.35, 0.25]),
        "dest": np.array([f"D{place}" for place in zipf], object),
    }


def statistics_of(rows: Rows) -> dict[str, ColumnStatistics]:
    """Each column's statistics, as the trainer makes them."""
    found: dict[str, ColumnStatistics] = {}
    for name, values in rows.items():
        if values.dtype == object:
            counts = Counter(values.tolist())
            missing = counts.pop(None, 0)
            found[name] = CategoryStatistics.of(counts.keys(), counts.values(), missing)
        else:
            found[name] = NumberStatistics.of(values)
    return found


def window(rows: Rows, place: int) -> Window:
    """The `place`-th window of five minutes, with these rows."""
    count = len(next(iter(rows.values())))
    predictions = NumberStatistics.of(np.full(count, 0.25, np.float32))
    return Window(MODEL, 300.0 * place, 300.0 * place + 300, count, statistics_of(rows), predictions)


@pytest.fixture(scope="session")
def training() -> dict[str, np.ndarray]:
    """40,000 training rows."""
    return population(40_000, 1)


@pytest.fixture
def watch(training: dict[str, np.ndarray]) -> Callable[..., Watch]:
    """Makes a watch over those training rows."""
    statistics = statistics_of(training)
    return lambda **rules: Watch(statistics, None, Rules(**rules))


@pytest.fixture
def draw() -> Callable[[int, int], dict[str, np.ndarray]]:
    """Draws rows of the training distribution: how many, and a seed."""
    return lambda rows, seed: population(rows, 1000 + seed)


@pytest.fixture
def new_rows(draw) -> Callable[[int, int], dict[str, ColumnStatistics]]:
    """The statistics of such rows."""
    return lambda rows, seed: statistics_of(draw(rows, seed))


@pytest.fixture(name="window")
def window_fixture() -> Callable[..., Window]:
    """Makes a window."""
    return window


@pytest.fixture
def statistics() -> Callable[..., dict[str, ColumnStatistics]]:
    """The statistics of rows."""
    return statistics_of
