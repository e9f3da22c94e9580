"""How far a new version has got, and what moves it on or back. Neither clock nor I/O. Standard library only."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from penstock_serving.plan import Plan, Rollout
from penstock_serving.routing import Routes
from penstock_serving.tally import Tally

EVENTS = 50
"""So many of the last events are kept."""
SURE = 3.0
"""A gate closes when its limit is passed by more than so many standard errors: chance alone must not roll back."""

SLOW = 0.01
"""The share of the requests that are slower than the quantile which is judged."""
ALIKE = 1.5
"""Where the world has moved, a version that gets few rows sees it by chance farther from its training than one of many
rows, by up to a third in `test_watching.py`."""
FEW = 20
"""So many requests are enough to see that most of them fail."""


@dataclass(frozen=True)
class Seen:
    """What the old and the new version did in the present step; `shadow`: they answered the same rows."""

    old: Tally
    new: Tally
    shadow: bool = False
    old_skew: Mapping[str, float] = field(default_factory=dict[str, float])
    new_skew: Mapping[str, float] = field(default_factory=dict[str, float])
    """How far what arrives is from what each was trained on, by column, as multiples of the threshold of an alert."""


@dataclass(frozen=True)
class Progress:
    """What must survive a restart: the version that serves, the one on its way, and what has happened."""

    stable: str | None = None
    candidate: str | None = None
    percent: float = 0.0
    """What the candidate gets of the traffic; 0 is the shadow. It stays what it is where the plan's steps change."""
    since: float = 0.0
    """When the step began, in seconds since 1970."""
    rejected: tuple[str, ...] = ()
    """Versions that were rolled back; one comes back only by name."""
    events: tuple[Mapping[str, Any], ...] = field(default=())

    def aim(self, plan: Plan, now: float) -> "Progress":
        """On the way to what the plan says, going on from where it is."""
        if plan.traffic is not None:
            most = max(plan.traffic, key=lambda version: (plan.traffic or {})[version])
            chosen = replace(self, stable=most, candidate=None, rejected=tuple(v for v in self.rejected if v != most))
            return self if chosen == self else chosen._said(now, "directed", most, f"by configuration: {plan.traffic}")
        latest = plan.latest
        if self.candidate == latest and plan.rollout is not None:
            return self
        gone = self.stable is None or self.stable not in plan.versions
        if self.stable == latest or gone or plan.rollout is None:
            if (self.stable, self.candidate) == (latest, None):
                return self
            rejected = tuple(version for version in self.rejected if version != latest)
            return replace(self, stable=latest, candidate=None, rejected=rejected)._said(now, "serves", latest, "")
        if latest in self.rejected:
            return replace(self, candidate=None)
        begun = replace(self, candidate=latest, percent=plan.rollout.steps[0], since=now)
        return begun._said(now, "begun", latest, f"{begun.percent:g} %")

    def routes(self, plan: Plan) -> Routes:
        """Which version answers how much."""
        if plan.traffic is not None:
            shadow = next((version for version, weight in plan.traffic.items() if weight == 0), None)
            return Routes({version: weight for version, weight in plan.traffic.items() if weight}, shadow)
        assert self.stable is not None, "aim comes first"
        if self.candidate is None or plan.rollout is None:
            return Routes({self.stable: 100})
        if self.percent == 0:
            return Routes({self.stable: 100}, self.candidate)
        return Routes(
            {self.candidate: self.percent} | ({self.stable: 100 - self.percent} if self.percent < 100 else {})
        )

    def judged(self, rollout: Rollout, now: float, seen: Seen) -> "tuple[Progress, dict[str, Any]]":
        """The next state, and every gate with its value and its limit."""
        assert self.candidate is not None
        found, new = gates(rollout, seen), seen.new
        broken = next((name for name, gate in found.items() if gate["broken"]), None)
        if broken is not None:
            gate = found[broken]
            what = f"{broken} of `{gate['column']}`" if "column" in gate else broken
            why = f"{what} {gate['value']:.4g}, limit {gate['limit']:.4g}, after {new.requests} requests"
            return self.rolled_back(now, why), found
        following = [step for step in rollout.steps if step > self.percent]
        if following and (now - self.since < rollout.step_seconds or new.requests < rollout.step_requests):
            return self, found
        if not following or following[0] >= 100:
            done = replace(self, stable=self.candidate, candidate=None)
            return done._said(now, "promoted", self.candidate, "100 %"), found
        on = replace(self, percent=following[0], since=now)
        return on._said(now, "advanced", self.candidate, f"{on.percent:g} %"), found

    def rolled_back(self, now: float, why: str) -> "Progress":
        """The old version answers everything; the candidate is not tried again by itself."""
        assert self.candidate is not None
        back = replace(self, candidate=None, rejected=(*self.rejected, self.candidate))
        return back._said(now, "rolled back", self.candidate, why)

    def as_json(self) -> dict[str, Any]:
        """The state, as `of` reads it."""
        return asdict(self)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Progress":
        """The state that `as_json` wrote; that of a release before, which counted steps, is in the shadow again."""
        known = {each.name: content[each.name] for each in fields(cls) if each.name in content}
        return cls(**{**known, "rejected": tuple(content["rejected"]), "events": tuple(content["events"])})

    def _said(self, now: float, event: str, version: str, why: str) -> "Progress":
        said = {"time": now, "event": event, "version": version, "why": why}
        return replace(self, events=(*self.events, said)[-EVENTS:])


def gates(rollout: Rollout, seen: Seen) -> dict[str, dict[str, Any]]:
    """Each gate's value, its limit, and whether it is broken, which none is before it has seen enough requests."""
    old, new, shadow = seen.old, seen.new, seen.shadow
    found: dict[str, dict[str, Any]] = {}

    def gate(name: str, value: float, limit: float, beyond: bool, least: int = rollout.step_requests) -> None:
        found[name] = {"value": value, "limit": limit, "broken": beyond and new.requests >= least}

    share, expected = new.bad_share, 0.0 if shadow else old.bad_share
    chance = SURE * (_share_error(share, new.requests) + _share_error(expected, old.requests))
    worse = share - expected
    gate("errors", worse, rollout.errors, worse - chance > rollout.errors, min(FEW, rollout.step_requests))
    if new.rows and old.rows:
        deviation = old.deviation or new.deviation or 1.0
        # In the shadow both have answered the same rows: the difference of their means has no error of sampling.
        error = 0.0 if shadow else math.sqrt(new.deviation**2 / new.rows + old.deviation**2 / old.rows) / deviation
        shift = abs(new.mean - old.mean) / deviation
        gate("score_shift", shift, rollout.score_shift, shift - SURE * error > rollout.score_shift)
    if not shadow and new.answers and old.answers >= rollout.step_requests:
        usual = old.quantile(1 - SLOW)
        # A quantile of few requests jumps; how many are beyond it does not.
        slow = new.share_beyond(rollout.latency * usual)
        chance = SURE * math.hypot(_share_error(max(slow, SLOW), new.answers), _share_error(SLOW, old.answers))
        gate("latency", new.quantile(1 - SLOW) / usual, rollout.latency, slow - chance > SLOW)
    if not shadow:
        limits = {name: max(rollout.skew, ALIKE * seen.old_skew.get(name, 0.0)) for name in seen.new_skew}
        column = max(limits, key=lambda name: seen.new_skew[name] - limits[name], default=None)
        if column is None:
            gate("skew", 0.0, rollout.skew, False)
        else:
            gate("skew", seen.new_skew[column], limits[column], seen.new_skew[column] > limits[column])
            found["skew"]["column"] = column
    return found


def _share_error(share: float, requests: int) -> float:
    return math.sqrt(share * (1 - share) / requests) if requests else 0.0
