import pytest
from optuna.trial import TrialState, create_trial

from penstock_trainer.errors import InputError
from penstock_trainer.study_limits import SECONDS, STARTED, Limits, elapsed_seconds


def trial(started, seconds=None, state=TrialState.COMPLETE):
    attributes = {STARTED: started} | ({} if seconds is None else {SECONDS: seconds})
    return create_trial(state=state, value=0.5 if state == TrialState.COMPLETE else None, user_attrs=attributes)


def test_the_study_s_time_counts_overlapping_trials_once_and_an_interruption_not_at_all():
    before = [trial(0, 10), trial(4, 10)]  # 0 to 14
    died = trial(10, 2, TrialState.FAIL)  # within them
    after = [trial(1000, 6), trial(1003, state=TrialState.RUNNING)]  # 1000 to 1010
    assert elapsed_seconds([*after, died, *before], now=1010) == 24


def test_the_time_limit_is_reached_when_the_study_s_own_time_is_used_up():
    trials = [trial(0, 10), trial(1000, state=TrialState.RUNNING)]
    assert Limits(seconds=15).reached(trials, now=1004) is None
    assert "15 s was reached after 15 s" in str(Limits(seconds=15).reached(trials, now=1005))


def test_the_cost_is_that_of_every_process_s_time_and_the_limit_says_what_was_spent():
    trials = [trial(0, 1800), trial(0, 1800), trial(0, 900, TrialState.FAIL)]
    limits = Limits(usd=2.5, usd_per_hour=2)
    assert limits.cost(trials, now=0) == 2.5
    assert limits.reached(trials, now=0) == "the cost limit of 2.5 USD was reached at 2.50 USD"
    assert Limits(usd=2.51, usd_per_hour=2).reached(trials, now=0) is None


def test_a_cost_limit_without_a_price_is_refused():
    with pytest.raises(InputError, match="needs the price"):
        Limits(usd=10)
