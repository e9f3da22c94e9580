import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_trainer import statistics
from penstock_trainer.statistics import CategoryStatistics, Comoment, NumberStatistics

numbers = st.lists(st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6, width=32)), max_size=60)


def of(values):
    return NumberStatistics.of(np.array(values, np.float32))


@given(st.lists(numbers, min_size=1, max_size=6))
def test_however_the_rows_are_split_counts_means_and_variances_are_those_of_the_whole(batches):
    whole = np.array([value for batch in batches for value in batch], np.float32)
    present = whole[~np.isnan(whole)].astype(np.float64)
    forward, backward = NumberStatistics(), NumberStatistics()
    for batch in batches:
        forward = forward.merge(of(batch))
    for batch in reversed(batches):
        backward = of(batch).merge(backward)
    for found in (forward, backward):
        assert (found.count, found.missing) == (len(present), np.isnan(whole).sum())
        if len(present):
            assert (found.min, found.max) == (present.min(), present.max())
            assert found.mean == pytest.approx(present.mean(), rel=1e-9, abs=1e-6)
            assert found.variance == pytest.approx(present.var(), rel=1e-6, abs=1e-3)


def test_the_variance_of_large_numbers_close_to_each_other_is_not_lost_to_rounding():
    values = np.float32(1e7) + np.arange(1000, dtype=np.float32)
    merged = of(values[:10]).merge(of(values[10:]))
    assert merged.variance == pytest.approx((1000**2 - 1) / 12, rel=1e-9)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=40), min_size=1, max_size=5))
def test_category_counts_add_up_however_the_rows_are_split(batches):
    merged = CategoryStatistics()
    for batch in batches:
        counted = Counter(batch)
        merged = merged.merge(CategoryStatistics.of(counted.keys(), counted.values(), missing=1))
    whole = Counter(value for batch in batches for value in batch)
    assert merged.categories == whole
    assert (merged.count, merged.missing, merged.distinct) == (whole.total(), len(batches), len(whole))


def test_categories_without_end_stay_bounded_and_the_frequent_ones_are_kept(monkeypatch):
    monkeypatch.setattr(statistics, "MAX_CATEGORIES", 100)
    merged = CategoryStatistics()
    for start in range(0, 5000, 50):
        names = ["often", *(f"once-{n}" for n in range(start, start + 50))]
        merged = merged.merge(CategoryStatistics.of(names, [10] + [1] * 50, missing=0))
    assert len(merged.categories) <= 100
    assert merged.categories["often"] == 1000
    assert merged.count == 6000 == merged.categories.total() + merged.pruned
    assert merged.distinct == pytest.approx(5001, rel=0.1)


def test_quantile_boundaries_cut_the_values_into_even_buckets():
    values = np.random.default_rng(0).exponential(size=100_000).astype(np.float32)
    merged = of(values[:30_000]).merge(of(values[30_000:]))
    sizes = np.bincount(np.digitize(values, merged.boundaries(10)))
    assert sizes == pytest.approx(np.full(10, 10_000), rel=0.05)


def test_a_column_of_one_value_has_one_boundary_at_most():
    assert len(of([5.0] * 100).boundaries(10)) <= 1
    assert NumberStatistics().boundaries(10) == []


def test_statistics_come_back_from_json_as_they_were():
    left = {"n": of([1.0, 2.0, float("nan")]), "c": CategoryStatistics.of(["ä", "b"], [2, 1], missing=3)}
    right = statistics.from_json(json.loads(json.dumps(statistics.to_json(left))))
    assert statistics.to_json(right) == statistics.to_json(left)
    assert isinstance(right["c"], CategoryStatistics)
    assert right["c"].ranked() == ["ä", "b"]


@given(st.lists(numbers, min_size=1, max_size=6))
def test_a_correlation_is_that_of_the_whole_however_the_rows_are_split(batches):
    random, merged = np.random.default_rng(0), Comoment()
    pairs = [(np.array(batch, np.float32), random.normal(size=len(batch)).astype(np.float32)) for batch in batches]
    for x, y in pairs:
        merged.merge(Comoment.of(x, y))
    x, y = (np.concatenate(side).astype(np.float64) for side in zip(*pairs, strict=True))
    x, y = x[~np.isnan(x)], y[~np.isnan(x)]
    assert merged.count == len(x)
    if len(x) > 1 and x.std() > 1e-3:
        assert merged.correlation == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)
    assert statistics.from_json(statistics.to_json({"c": merged}))["c"] == merged  # pyright: ignore[reportArgumentType]


def test_counts_of_kept_categories_are_off_by_no_more_than_is_admitted(monkeypatch):
    monkeypatch.setattr(statistics, "MAX_CATEGORIES", 50)
    words = [f"word-{n % (1 + n % 97)}" for n in range(20_000)]
    merged = CategoryStatistics()
    for start in range(0, len(words), 500):
        counted = Counter(words[start : start + 500])
        merged.merge(CategoryStatistics.of(counted.keys(), counted.values(), missing=0))
    whole = Counter(words)
    assert 0 < merged.undercount < 20_000
    assert all(0 <= count - merged.categories[word] <= merged.undercount for word, count in whole.items())
    again = statistics.from_json(statistics.to_json({"c": merged}))["c"]
    assert isinstance(again, CategoryStatistics)
    assert (again.undercount, again.distinct) == (merged.undercount, merged.distinct)
