"""What is too dear, judged by the stack's own estimate."""

import pytest

from penstock_policies import price
from penstock_policies.resource import UNKNOWN, Settings

ESTIMATE = {"usd_per_hour_peak": [4.0, 9.5], "usd_per_month_idle": [100.0, 310.0], "without_a_price": []}


def found(settings=None, ceiling=None, **changed):
    return list(price.findings({"estimated_cost": {**ESTIMATE, **changed}}, settings or Settings(), ceiling))


def test_an_estimate_within_ceiling_and_budget_passes():
    assert found(Settings(usd_per_hour_at_most=9.5, usd_per_month=310)) == []


def test_the_upper_end_of_the_peak_counts():
    (told,) = found(Settings(usd_per_hour_at_most=9.4))
    assert "up to 9.5 USD an hour at its peak, the ceiling is 9.4" in told


def test_an_idle_month_that_is_dearer_than_the_budget_is_told():
    (told,) = found(Settings(usd_per_month=300))
    assert "costs 310 USD in a month in which nothing happens, the budget is 300" in told


def test_a_machine_without_a_price_is_not_free_below_a_ceiling():
    (told,) = found(Settings(usd_per_hour_at_most=20), without_a_price=["nvidia-b200"])
    assert "has no price for nvidia-b200" in told


def test_the_stack_s_own_ceiling_goes_before_the_pack_s():
    assert found(Settings(usd_per_hour_at_most=20), ceiling=1) == []
    assert len(found(ceiling=1)) == 1


@pytest.mark.parametrize("outputs", [{}, {"estimated_cost": {"usd_per_hour": None}}])
def test_a_price_that_nobody_knows_is_not_below_a_ceiling(outputs):
    (told,) = price.findings(outputs, Settings(), 5)
    assert "not known" in told


def test_this_machine_costs_nothing():
    assert list(price.findings({"estimated_cost": {"usd_per_hour": 0}}, Settings(), 5)) == []


def test_without_a_ceiling_nothing_is_asked_and_what_is_not_known_yet_waits():
    assert found() == []
    assert list(price.findings({"estimated_cost": UNKNOWN}, Settings(), 1)) == []
