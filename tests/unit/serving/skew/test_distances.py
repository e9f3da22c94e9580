"""The distances beside scipy's, from the same shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import chebyshev, jensenshannon
from scipy.stats import entropy

from penstock_serving.skew import distances

COUNTS = st.integers(2, 30).flatmap(
    lambda cells: st.tuples(*[st.lists(st.integers(0, 10**6), min_size=cells, max_size=cells).filter(any)] * 2)
)


@given(COUNTS)
def test_psi_is_the_sum_of_scipys_two_relative_entropies(pair):
    p, q = (np.array(counts, np.float64) for counts in pair)
    expected = entropy(p + 0.5, q + 0.5) + entropy(q + 0.5, p + 0.5)
    assert distances.psi(p, q) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(COUNTS)
def test_jensen_shannon_is_scipys_distance_to_base_2(pair):
    p, q = (np.array(counts, np.float64) for counts in pair)
    assert distances.jensen_shannon(p, q) == pytest.approx(jensenshannon(p + 0.5, q + 0.5, base=2), abs=2e-7)


@given(COUNTS)
def test_l_infinity_is_scipys_chebyshev_distance_of_the_shares(pair):
    p, q = (np.array(counts, np.float64) for counts in pair)
    assert distances.l_infinity(p, q) == pytest.approx(chebyshev(p / p.sum(), q / q.sum()), rel=1e-9, abs=1e-12)


def test_equal_shares_are_0_apart_and_shares_with_nothing_in_common_1():
    p, q = np.array([10**9, 0.0]), np.array([0.0, 10**9])
    assert distances.psi(p, 3 * p) < 1e-7
    assert distances.jensen_shannon(p, q) == pytest.approx(1, abs=1e-6)
    assert distances.l_infinity(p, q) == 1


def test_many_windows_are_compared_at_once_as_one_by_one():
    random = np.random.default_rng(5)
    p, q = random.integers(0, 99, (2, 40, 7)).astype(np.float64)
    for distance in (distances.psi, distances.jensen_shannon, distances.l_infinity):
        assert distance(p, q).tolist() == pytest.approx([float(distance(*pair)) for pair in zip(p, q, strict=True)])
