"""What a comparison measures, what it takes for chance, and how it says what moved."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import skew as scipy_skewness

from penstock_serving.skew.comparison import FARTHEST, MATTERS, ColumnComparison, Rules, VarianceRatio
from penstock_serving.skew.training import TrainedNumber
from penstock_serving.skew.watching import Watch
from penstock_trainer.statistics import CategoryStatistics, NumberStatistics

SMALL, LARGE = 300, 4000


def numbers(values) -> NumberStatistics:
    return NumberStatistics.of(np.asarray(values, np.float32))


def words(**counts: int) -> CategoryStatistics:
    missing = counts.pop("missing", 0)
    return CategoryStatistics.of(counts.keys(), counts.values(), missing)


def measures(training, found):
    return ColumnComparison("x", training, Rules(), {}).measures(found)


def test_moments_are_those_of_numpy():
    random = np.random.default_rng(3)
    before, after = random.normal(10, 2, 50_000), random.normal(13, 4, 5_000)
    found = measures(numbers(before), numbers(after))
    assert found["mean_shift"].value == pytest.approx((after.mean() - before.mean()) / before.std(), rel=1e-4)
    assert found["variance_ratio"].value == pytest.approx(after.var() / before.var(), rel=1e-4)
    assert found["mean_shift"].exceeded
    assert found["variance_ratio"].exceeded


def test_a_variance_that_shrank_is_as_far_as_one_that_grew():
    random = np.random.default_rng(3)
    wide, narrow = random.normal(0, 2, 20_000), random.normal(0, 1, 20_000)
    grew, fell = measures(numbers(narrow), numbers(wide)), measures(numbers(wide), numbers(narrow))
    assert grew["variance_ratio"].size == pytest.approx(fell["variance_ratio"].size, rel=1e-6)
    assert fell["variance_ratio"].exceeded
    assert measures(numbers(wide), numbers([1.0] * 500))["variance_ratio"].exceeded


def test_a_variance_is_as_far_as_its_factor_has_thresholds_in_it_and_one_of_0_is_not_infinitely_far():
    assert VarianceRatio(1.5**3, 1.5).excess == pytest.approx(VarianceRatio(1.5**-3, 1.5).excess) == pytest.approx(3)
    assert VarianceRatio(1.0, 1.5).excess == 0
    assert VarianceRatio(0.0, 1.5).excess == VarianceRatio(1e-12, 1.5).excess == FARTHEST
    for value, threshold in ((0.0, 1e300), (1.4, 1.5), (1.6, 1.5), (0.6, 1.5)):
        measure = VarianceRatio(value, threshold)
        assert measure.exceeded == (measure.excess > 1)


def test_numbers_are_counted_over_training_deciles_as_numpy_counts_them():
    random = np.random.default_rng(4)
    before, after = random.gamma(2, 1, 900).astype(np.float32), random.gamma(2, 1.5, 700).astype(np.float32)
    trained = TrainedNumber(numbers(before))
    edges = np.array(trained.edges, np.float32)
    expected = np.bincount(np.searchsorted(edges, after, side="left"), minlength=len(edges) + 1)
    # The sketch holds every value of so few rows: its counts are exact.
    assert trained.cells(numbers(after)) == pytest.approx(expected)
    assert trained.counts == pytest.approx(np.full(10, 90), abs=1)


def test_a_frequent_value_has_a_cell_of_its_own():
    trained = TrainedNumber(numbers([0.0] * 900 + list(range(1, 101))))
    assert trained.counts[trained.edges.index(0.0)] == 900


def test_a_constant_column_that_changes_is_found_in_either_direction():
    for value in (2012, 2014):
        found = measures(numbers([2013.0] * 5000), numbers([value] * 500))
        assert "mean_shift" not in found
        assert found["psi"].exceeded
    assert not measures(numbers([2013.0] * 5000), numbers([2013] * 500))["psi"].exceeded


def test_skewness_is_about_scipys_and_never_much_below_in_a_heavy_tail():
    random = np.random.default_rng(6)
    for values in (random.normal(size=50_000), random.exponential(size=50_000), random.lognormal(0, 1, 50_000)):
        assert TrainedNumber(numbers(values)).skewness >= scipy_skewness(values) * 0.95 - 0.1


def test_shares_of_categories_are_compared():
    found = measures(words(a=500, b=300, c=200, missing=10), words(a=100, b=60, d=40, missing=100))
    assert found["unseen"].value == pytest.approx(0.2)
    assert found["l_infinity"].value == pytest.approx(0.2)
    assert found["missing"].value == pytest.approx(100 / 300 - 10 / 1010)
    assert all(found[name].exceeded for name in ("unseen", "l_infinity", "missing", "psi", "jensen_shannon"))


def test_a_rare_category_that_becomes_frequent_is_found_though_it_shares_a_cell():
    many = {f"w{place}": 1000 - place for place in range(300)}
    found = measures(words(**many), words(**{**many, "w299": 60_000}))
    assert found["l_infinity"].value > 0.15


def test_new_categories_are_expected_as_often_as_training_saw_new_ones():
    once = {f"once{place}": 1 for place in range(100)}
    training = words(often=900, **once)
    assert not measures(training, words(often=270, **{f"new{place}": 1 for place in range(30)}))["unseen"].exceeded
    assert measures(training, words(often=200, **{f"new{place}": 1 for place in range(100)}))["unseen"].exceeded


def test_what_training_let_go_is_not_called_unseen():
    training = words(a=500, b=500)
    training.bound(1)
    assert "unseen" not in measures(training, words(z=1000))


def test_a_flood_of_categories_counts_as_unseen_though_most_were_let_go():
    flood = words(a=500, b=500, **{f"random{place}": 1 for place in range(9000)})
    flood.bound(1000)
    assert measures(words(a=500, b=500), flood)["unseen"].value == pytest.approx(0.9, abs=0.01)


def test_without_values_on_one_side_only_the_missing_are_compared():
    nothing, something = numbers([np.nan] * 500), numbers([1.0, 2.0] * 250)
    assert set(measures(something, nothing)) == set(measures(nothing, something)) == {"missing"}
    assert measures(something, nothing)["missing"].value == 1


def test_a_column_of_another_type_is_refused_by_name():
    with pytest.raises(TypeError, match="column 'x' was observed as CategoryStatistics"):
        measures(numbers([1.0]), words(a=1))


def test_small_windows_have_a_higher_threshold_and_large_ones_the_one_that_matters(watch: Callable[..., Watch]):
    for comparison in watch().columns.values():
        column = comparison.trained.column
        if not column.count or comparison.name == "year":
            continue
        floors = [comparison._floor.of(rows, rows) for rows in (50, 1_000, 100_000)]
        for name in floors[0]:
            assert floors[0][name] > floors[1][name] > floors[2][name] > 0, (comparison.name, name)
            if name != "variance_ratio":
                assert floors[2][name] < MATTERS[name], (comparison.name, name)


@pytest.mark.parametrize("rows", [SMALL, LARGE])
def test_windows_of_the_training_distribution_rarely_pass_the_noise_floor_alone(watch, new_rows, rows, monkeypatch):
    """Not the thresholds that matter but the floors, alone: each is passed in about `chance` of the windows."""
    monkeypatch.setattr("penstock_serving.skew.comparison.MATTERS", dict.fromkeys(MATTERS, 0.0) | {"variance_ratio": 1})
    compared = passed = 0
    columns = watch(chance=0.01).columns
    for seed in range(60):
        for name, found in new_rows(rows, seed).items():
            for measure in columns[name].measures(found).values():
                compared += 1
                passed += measure.exceeded
    assert compared > 60 * 25
    assert passed <= 0.015 * compared


def test_a_floor_is_not_so_high_that_it_hides_what_is_there(watch, new_rows):
    """A tenth of a deviation is no news, but 4,000 rows prove it."""
    distance = watch().columns["distance"]
    assert distance._floor.of(LARGE, LARGE)["mean_shift"] < 0.08
    assert watch().columns["origin"]._floor.of(LARGE, LARGE)["psi"] < 0.01
