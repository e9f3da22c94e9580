"""When a study has cost enough: time and dollars, summed over its trials, interruptions left out."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from penstock_trainer.errors import InputError

STARTED = "started"  # a trial's attribute: when it was claimed, in seconds since 1970
SECONDS = "seconds"  # a trial's attribute: for how long it has been worked on, kept after each epoch


@dataclass(frozen=True)
class Limits:
    """`seconds` of the study's own time and `usd` spent, at `usd_per_hour` a process; None: no such limit.

    Raises:
        InputError: a limit in dollars without a price.
    """

    seconds: float | None = None
    usd: float | None = None
    usd_per_hour: float | None = None

    def __post_init__(self) -> None:
        if self.usd is not None and not self.usd_per_hour:
            raise InputError(f"a cost limit of {self.usd} USD needs the price of a process: --price USD_PER_HOUR")

    def reached(self, trials: Iterable[FrozenTrial], now: float) -> str | None:
        """Which limit is reached, in words, or None."""
        trials = list(trials)
        if self.seconds is not None and (spent := elapsed_seconds(trials, now)) >= self.seconds:
            return f"the time limit of {self.seconds:g} s was reached after {spent:.0f} s"
        if self.usd is not None and (cost := self.cost(trials, now)) is not None and cost >= self.usd:
            return f"the cost limit of {self.usd:g} USD was reached at {cost:.2f} USD"
        return None

    def cost(self, trials: Iterable[FrozenTrial], now: float) -> float | None:
        """Dollars for the trials' own time, failed ones included; None without a price."""
        if self.usd_per_hour is None:
            return None
        return self.usd_per_hour * sum(worked_seconds(trial, now) for trial in trials) / 3600

    def to_json(self) -> dict[str, Any]:
        """The limits that there are."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def worked_seconds(trial: FrozenTrial, now: float) -> float:
    """For how long a process worked on a trial; of one whose process died, until its last finished epoch."""
    if trial.state == TrialState.RUNNING:
        return max(0.0, now - trial.user_attrs.get(STARTED, now))
    return float(trial.user_attrs.get(SECONDS, 0.0))


def elapsed_seconds(trials: Iterable[FrozenTrial], now: float) -> float:
    """For how long at least one trial was worked on: what an interruption lasted does not count."""
    starts = [(trial.user_attrs[STARTED], trial) for trial in trials if STARTED in trial.user_attrs]
    total, reached = 0.0, 0.0
    for start, end in sorted((start, start + worked_seconds(trial, now)) for start, trial in starts):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
