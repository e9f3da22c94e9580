import json
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_trainer import distinct, kll, labelled, statistics
from penstock_trainer.errors import InputError
from penstock_trainer.labelled import Comoment, GroupMeans
from penstock_trainer.statistics import CategoryStatistics, NumberStatistics, TextStatistics

FORMAT_1 = Path(__file__).with_name("statistics_of_format_1.json")
BY_LABEL = Path(__file__).with_name("statistics_by_label_of_format_1.json")

numbers = st.lists(st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6, width=32)), max_size=60)
orders = st.randoms(use_true_random=False)


def of(values):
    return NumberStatistics.of(np.array(values, np.float32))


def merged_in_any_order(parts, order):
    """Two at a time, whichever `order` picks, until one is left."""
    parts = list(parts)
    while len(parts) > 1:
        left, right = (parts.pop(order.randrange(len(parts))) for _ in range(2))
        parts.append(left.merge(right))
    return parts[0]


def words_of(batch):
    counted = Counter(batch)
    return CategoryStatistics.of(counted.keys(), counted.values(), missing=0)


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


@settings(max_examples=40)
@given(st.lists(st.integers(0, 4000), min_size=1, max_size=6), st.integers(1, 5000), st.integers(0, 2**32 - 1), orders)
def test_different_numbers_are_counted_once_and_alike_however_rows_are_split_and_merged(sizes, kinds, seed, order):
    values = np.random.default_rng(seed).integers(-kinds // 2, kinds // 2 + 1, sum(sizes)).astype(np.float32)
    values[::7] = np.nan
    values[1::7] *= np.float32(-0.0)  # which is 0 too
    parts = [NumberStatistics.of(part, count_distinct=True) for part in np.split(values, np.cumsum(sizes)[:-1])]
    merged, whole = merged_in_any_order(parts, order), NumberStatistics.of(values, count_distinct=True)
    assert merged.distinct == whole.distinct
    again = statistics.from_json(json.loads(json.dumps(statistics.to_json({"n": pickle.loads(pickle.dumps(merged))}))))
    assert statistics.to_json(again)["columns"]["n"] == merged.to_json()
    there = len(np.unique(values[~np.isnan(values)]))
    if there < distinct.KEPT:
        assert merged.distinct == there
    assert merged.distinct == pytest.approx(there, rel=6 / (distinct.KEPT - 2) ** 0.5)  # six standard errors


@pytest.mark.parametrize("values", [np.arange(300_000), np.random.default_rng(0).normal(size=300_000)])
def test_different_numbers_without_end_are_estimated_from_what_stays_bounded(values):
    merged = NumberStatistics()
    for part in np.split(values.astype(np.float32), 30):
        merged.merge(NumberStatistics.of(part, count_distinct=True))
    assert merged.distinct == pytest.approx(len(np.unique(values.astype(np.float32))), rel=0.1)
    assert merged.different is not None
    assert merged.different.nbytes == 4 * distinct.KEPT


def test_where_some_rows_were_not_counted_the_different_numbers_are_not_known():
    counted = NumberStatistics.of(np.ones(3, np.float32), count_distinct=True)
    assert NumberStatistics().merge(counted).distinct == 1
    assert counted.merge(of([float("nan")])).distinct == 1
    assert of([2.0]).merge(counted).distinct is None
    assert counted.merge(of([2.0])).distinct is None
    assert "distinct" not in counted.to_json()


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


@given(
    st.lists(
        st.lists(st.tuples(st.integers(-1, 5), st.floats(-100, 100, width=32)), max_size=30), min_size=1, max_size=6
    ),
    orders,
)
def test_the_labels_mean_by_category_is_that_of_the_whole_in_any_order(batches, order):
    def groups(rows):
        codes, labels = np.array([code for code, _ in rows], int), np.array([label for _, label in rows], np.float32)
        return GroupMeans.of("abcdef", codes, labels)

    merged = merged_in_any_order([groups(rows) for rows in batches], order)
    whole = {word: [] for word in "abcdef"}
    for code, label in (row for rows in batches for row in rows):
        if code >= 0:
            whole["abcdef"[code]].append(label)
    assert {word: group[0] for word, group in merged.groups.items()} == {w: len(v) for w, v in whole.items() if v}
    for word, (_, mean, squares) in merged.groups.items():
        assert mean == pytest.approx(np.mean(whole[word]), abs=1e-4)
        assert squares == pytest.approx(np.var(whole[word]) * len(whole[word]), rel=1e-4, abs=1e-2)
    again = statistics.from_json(json.loads(json.dumps(statistics.to_json({"c": merged}))))["c"]  # pyright: ignore[reportArgumentType]
    assert again == merged


def test_categories_of_a_label_without_end_stay_bounded_and_explain_nothing_by_their_number(monkeypatch):
    monkeypatch.setattr(labelled, "MAX_GROUPS", 100)
    random, merged = np.random.default_rng(0), GroupMeans()
    for start in range(0, 5000, 50):
        words = ["often", *(f"once-{n}" for n in range(start, start + 50))]
        merged = merged.merge(GroupMeans.of(words, np.array([0] * 10 + list(range(1, 51))), random.normal(size=60)))
        assert len(merged.groups) <= 100
    assert merged.groups["often"][0] == 1000
    assert sum(count for count, _, _ in merged.groups.values()) + merged.pruned == 6000
    assert merged.correlation < 0.5


def test_of_more_categories_than_are_kept_the_most_frequent_stay_and_no_row_is_lost(monkeypatch):
    monkeypatch.setattr(labelled, "MAX_GROUPS", 100)
    codes = np.concatenate([np.arange(300), np.repeat(np.arange(100, 140), 3), np.full(5, 7), [-1]])
    found = GroupMeans.of([f"kind-{n:03}" for n in range(300)], codes, np.ones(codes.size))
    assert {f"kind-{n}" for n in range(100, 140)} | {"kind-007"} <= found.groups.keys()
    assert len(found.groups) <= 100
    assert found.groups["kind-007"] == (6, 1.0, 0.0)
    assert sum(count for count, _, _ in found.groups.values()) + found.pruned == 300 + 120 + 5


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


@settings(max_examples=30)
@given(st.integers(1, 200_000), st.sampled_from(["normal", "few values", "one value"]), st.integers(0, 2**32 - 1))
def test_ranks_of_one_batch_are_off_by_less_than_a_kth_and_its_sketch_is_one_of_datasketches(size, kind, seed):
    values = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    values = np.sort({"normal": values, "few values": np.round(values), "one value": values[:1].repeat(size)}[kind])
    sketch = kll.of_sorted(values)
    assert (sketch.n, sketch.k) == (size, kll.K)
    assert (sketch.get_min_value(), sketch.get_max_value()) == (values[0], values[-1])
    points = values[:: max(1, size // 200)]
    below, upto = (np.array([sketch.get_rank(float(point), each) for point in points]) for each in (False, True))
    assert np.abs(below - np.searchsorted(values, points, "left") / size).max() < 1 / kll.K
    assert np.abs(upto - np.searchsorted(values, points, "right") / size).max() < 1 / kll.K
    assert sketch.num_retained <= 2 * kll.K
    assert type(sketch).deserialize(sketch.serialize()).serialize() == sketch.serialize()
    other = kll.empty()
    other.update(values)
    other.merge(sketch)
    assert other.n == 2 * size


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 6000), min_size=1, max_size=8),
    st.sampled_from(["sorted", "shuffled", "few values", "long tail"]),
    st.integers(0, 2**32 - 1),
    orders,
)
def test_ranks_are_those_of_the_whole_within_the_sketchs_bound_however_rows_are_split_and_merged(
    sizes, kind, seed, order
):
    random = np.random.default_rng(seed)
    values = random.lognormal(sigma=3, size=sum(sizes)) if kind == "long tail" else random.normal(size=sum(sizes))
    values = np.round(values) if kind == "few values" else np.sort(values) if kind == "sorted" else values
    values = values.astype(np.float32)
    merged = merged_in_any_order([of(part) for part in np.split(values, np.cumsum(sizes)[:-1])], order)
    assert merged.count == len(values) == merged.quantiles.n
    # The bound holds for 99 of 100 questions: three times it is never reached.
    bound = 3 * merged.quantiles.normalized_rank_error(False)
    assert bound < 0.01
    for point in values[:: max(1, len(values) // 50)]:
        assert abs(merged.quantiles.get_rank(float(point)) - (values < point).mean()) <= bound
    ranked = np.sort(values)
    for edge in merged.boundaries(16):
        below, upto = np.searchsorted(ranked, edge, "left"), np.searchsorted(ranked, edge, "right")
        wanted = np.arange(1, 16) / 16
        assert ((below / len(values) <= wanted + bound) & (wanted - bound <= upto / len(values))).any()


@given(
    st.lists(st.lists(st.integers(0, 60).map(lambda n: f"w{n * n // 60}"), max_size=80), min_size=1, max_size=8), orders
)
def test_what_is_kept_and_let_go_is_the_whole_and_off_by_no_more_than_admitted_in_any_order(batches, order):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "MAX_CATEGORIES", 8)
        merged = merged_in_any_order([words_of(batch) for batch in batches], order)
    whole = Counter(word for batch in batches for word in batch)
    assert len(merged.categories) <= 8
    assert merged.categories.total() + merged.pruned == merged.count == whole.total()
    assert all(0 <= count - merged.categories[word] <= merged.undercount for word, count in whole.items())
    assert merged.undercount <= merged.pruned
    assert merged.distinct == len(whole)  # the sketch counts so few one by one


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 4000)), min_size=2, max_size=6), orders)
def test_kinds_that_were_let_go_are_counted_once_however_often_they_came_back(ranges, order):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "MAX_CATEGORIES", 100)
        parts = [words_of(f"word {n}" for n in range(first, first + many)) for first, many in ranges]
        merged = merged_in_any_order(parts, order)
    distinct = len({n for first, many in ranges for n in range(first, first + many)})
    assert merged.distinct == pytest.approx(distinct, rel=0.1)  # six times the sketch's standard error


@given(st.lists(st.lists(st.lists(st.sampled_from("abcdef"), max_size=4), max_size=10), min_size=1, max_size=6), orders)
def test_texts_and_their_tokens_add_up_in_any_order(batches, order):
    def texts(rows):
        there = [row for row in rows if row]
        return TextStatistics(len(there), len(rows) - len(there), words_of(token for row in rows for token in row))

    merged = merged_in_any_order([texts(rows) for rows in batches], order)
    whole = texts([row for rows in batches for row in rows])
    for found in (merged, TextStatistics.from_json(json.loads(json.dumps(merged.to_json())))):
        assert (found.count, found.missing) == (whole.count, whole.missing)
        assert found.tokens.categories == whole.tokens.categories
        assert found.tokens.distinct == whole.tokens.distinct


def test_statistics_of_the_first_format_are_read_with_the_figures_they_had(tmp_path):
    shutil.copy(FORMAT_1, tmp_path / "statistics.json")
    found = statistics.read_statistics(tmp_path)
    assert found.keys() == {"training", "with_label"}
    size, kind, early, notes = (found["training"][name] for name in ("size", "kind", "early", "notes"))
    assert isinstance(size, NumberStatistics)
    assert (size.count, size.missing, size.min, size.max) == (3000, 7, 0.0, 2999.0)
    assert (size.mean, size.variance) == pytest.approx((1499.5, (3000**2 - 1) / 12))
    assert size.boundaries(4) == pytest.approx([750, 1500, 2250], abs=30)
    assert size.distinct is None  # of a release that did not count them yet
    assert isinstance(kind, CategoryStatistics)
    assert kind.ranked() == ["oak", "elm"]
    assert (kind.count, kind.missing, kind.pruned, kind.undercount, kind.distinct) == (12, 1, 4, 1, 6)
    assert isinstance(early, CategoryStatistics)  # of a release that did not write `undercount` yet
    assert (early.pruned, early.undercount, early.categories["oak"]) == (4, 4, 5)
    assert isinstance(notes, TextStatistics)
    assert (notes.count, notes.missing, notes.tokens.categories) == (2, 1, Counter({"old": 2, "tree": 1}))
    together = found["with_label"]["size"]
    assert isinstance(together, Comoment)
    assert together.correlation == pytest.approx(-1.0)


def test_statistics_by_label_of_the_first_format_are_read_with_the_figures_they_had(tmp_path):
    shutil.copy(BY_LABEL, tmp_path / "statistics.json")
    found = statistics.read_statistics(tmp_path)
    sizes = {"training": [1, 2, 4, 8], "positive": [4, 8], "class 0": [1, 2], "class 1": [4, 8]}
    assert found.keys() == {*sizes, "with_label"}
    for split, values in sizes.items():
        size = found[split]["size"]
        assert isinstance(size, NumberStatistics)
        assert (size.count, size.mean, size.variance) == (len(values), np.mean(values), np.var(values))
        assert [size.min, size.max] == [values[0], values[-1]] == size.quantiles.get_quantiles([0.0, 1.0])
    kinds = [found[split]["kind"] for split in ("positive", "class 0", "class 1")]
    assert [statistics.categories(kind).categories for kind in kinds] == [{"oak": 2}, {"oak": 3}, {"elm": 2}]
    first = statistics.categories(kinds[1])  # of which two categories were let go
    assert (first.count, first.missing, first.pruned, first.undercount, first.distinct) == (6, 1, 3, 2, 3)
    kind, size = found["with_label"]["kind"], found["with_label"]["size"]
    assert kind == GroupMeans({"oak": (2, 3.0, 2.0), "elm": (2, 7.25, 0.125)}, pruned=3)
    assert isinstance(size, Comoment)
    assert (size.count, size.mean_y) == (3, 3.0)
    assert size.correlation == pytest.approx(np.corrcoef([1, 2, 4], [1, 3, 5])[0, 1])


def test_statistics_of_a_newer_format_are_refused():
    with pytest.raises(InputError, match="statistics have format 2; this release reads up to 1"):
        statistics.from_json({"format": 2, "columns": {}})


def test_categories_that_went_from_one_process_to_another_are_counted_on_as_if_they_had_not():
    ones = CategoryStatistics.of([f"N{place}" for place in range(500)], range(1, 501), missing=3)
    ones.bound(100)
    others = CategoryStatistics.of(["N1", "N499"], [7, 8], missing=1)
    gone = pickle.loads(pickle.dumps(ones)).merge(pickle.loads(pickle.dumps(others)))
    assert gone.to_json() == ones.merge(others).to_json()
