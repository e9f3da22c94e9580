"""How far a new version has got, and what moves it on or back. Neither clock nor I/O. Standard library only."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from penstock_serving.plan import Plan, Rollout
from penstock_serving.routing import Routes
from penstock_serving.tally import Tally

EVENTS = 50
"""So many of the last events are kept."""
SURE = 3.0
"""A gate closes when its limit is passed by more than so many standard errors: chance alone must not roll back."""

FEW = 20
"""So many requests are enough to see that most of them fail."""


@dataclass(frozen=True)
class Seen:
    """What the old and the new version did in the present step; `shadow`: they answered the same rows."""

    old: Tally
    new: Tally
    shadow: bool = False
    old_skew: float = 0.0
    new_skew: float = 0.0
    """How far what arrives is from what each was trained on, as multiples of the threshold of an alert."""


@dataclass(frozen=True)
class Progress:
    """What must survive a restart: the version that serves, the one on its way, and what has happened."""

    stable: str | None = None
    candidate: str | None = None
    step: int = 0
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
        begun = replace(self, candidate=latest, step=0, since=now)
        return begun._said(now, "begun", latest, f"{plan.rollout.steps[0]:g} %")

    def routes(self, plan: Plan) -> Routes:
        """Which version answers how much."""
        if plan.traffic is not None:
            shadow = next((version for version, weight in plan.traffic.items() if weight == 0), None)
            return Routes({version: weight for version, weight in plan.traffic.items() if weight}, shadow)
        assert self.stable is not None, "aim comes first"
        if self.candidate is None or plan.rollout is None:
            return Routes({self.stable: 100})
        share = plan.rollout.steps[min(self.step, len(plan.rollout.steps) - 1)]
        if share == 0:
            return Routes({self.stable: 100}, self.candidate)
        return Routes({self.candidate: share} | ({self.stable: 100 - share} if share < 100 else {}))

    def judged(self, rollout: Rollout, now: float, seen: Seen) -> "tuple[Progress, dict[str, Any]]":
        """The next state, and every gate with its value and its limit."""
        assert self.candidate is not None
        found, new = gates(rollout, seen), seen.new
        broken = next((name for name, gate in found.items() if gate["broken"]), None)
        if broken is not None:
            gate = found[broken]
            why = f"{broken} {gate['value']:.4g}, limit {gate['limit']:.4g}, after {new.requests} requests"
            back = replace(self, candidate=None, rejected=(*self.rejected, self.candidate))
            return back._said(now, "rolled back", self.candidate, why), found
        last = self.step == len(rollout.steps) - 1
        if not last and (now - self.since < rollout.step_seconds or new.requests < rollout.step_requests):
            return self, found
        if last or rollout.steps[self.step + 1] >= 100:
            done = replace(self, stable=self.candidate, candidate=None)
            return done._said(now, "promoted", self.candidate, "100 %"), found
        on = replace(self, step=self.step + 1, since=now)
        return on._said(now, "advanced", self.candidate, f"{rollout.steps[on.step]:g} %"), found

    def as_json(self) -> dict[str, Any]:
        """The state, as `of` reads it."""
        return asdict(self)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Progress":
        """The state that `as_json` wrote."""
        return cls(**{**content, "rejected": tuple(content["rejected"]), "events": tuple(content["events"])})

    def _said(self, now: float, event: str, version: str, why: str) -> "Progress":
        said = {"time": now, "event": event, "version": version, "why": why}
        return replace(self, events=(*self.events, said)[-EVENTS:])


def gates(rollout: Rollout, seen: Seen) -> dict[str, dict[str, Any]]:
    """Each gate's value, its limit, and whether it is broken, which none is before it has seen enough requests."""
    old, new, shadow = seen.old, seen.new, seen.shadow
    found: dict[str, dict[str, Any]] = {}

    def gate(name: str, value: float, limit: float, error: float, least: int = rollout.step_requests) -> None:
        enough = new.requests >= least
        found[name] = {"value": value, "limit": limit, "broken": enough and value - SURE * error > limit}

    share, expected = new.bad_share, 0.0 if shadow else old.bad_share
    chance = _share_error(share, new) + _share_error(expected, old)
    gate("errors", share - expected, rollout.errors, chance, min(FEW, rollout.step_requests))
    if new.rows and old.rows:
        deviation = old.deviation or new.deviation or 1.0
        # In the shadow both have answered the same rows: the difference of their means has no error of sampling.
        error = 0.0 if shadow else math.sqrt(new.deviation**2 / new.rows + old.deviation**2 / old.rows) / deviation
        gate("score_shift", abs(new.mean - old.mean) / deviation, rollout.score_shift, error)
    if not shadow and new.answers and old.answers >= rollout.step_requests:
        gate("latency", new.quantile(0.99) / old.quantile(0.99), rollout.latency, 0.0)
    if not shadow:
        gate("skew", seen.new_skew, max(rollout.skew, seen.old_skew), 0.0)
    return found


def _share_error(share: float, tally: Tally) -> float:
    return math.sqrt(share * (1 - share) / tally.requests) if tally.requests else 0.0
