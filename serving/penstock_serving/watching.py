"""What the workers report, added up over all of them for the current step of a rollout. Standard library only."""

from typing import Any

from penstock_serving.comparison import Comparison
from penstock_serving.plan import Plan
from penstock_serving.rollout import Progress, Seen
from penstock_serving.routing import Routes
from penstock_serving.tally import Tally


class Watch:
    """Reports count from a worker's start; what is kept here counts from the step's."""

    def __init__(self) -> None:
        self.gates: dict[str, Any] = {}
        """Every gate of the rollout as it was last judged."""
        self.tallies: dict[str, Tally] = {}
        self.shadow: Comparison | None = None
        self._last: dict[int, dict[str, Any]] = {}
        self._predicted = 0

    def begin(self) -> None:
        """A step begins."""
        self.tallies, self.shadow, self.gates = {}, None, {}

    def add(self, worker: int, report: dict[str, Any]) -> None:
        """A worker's report: what is new in it since its last."""
        last = self._last.get(worker, {})
        self._predicted += report["predicted"] - last.get("predicted", 0)
        for version, counts in report.get("tallies", {}).items():
            tally, now = self.tallies.setdefault(version, Tally()), Tally.of(counts)
            tally.add(now)
            if version in last.get("tallies", {}):
                before = Tally.of(last["tallies"][version])
                if _continues(now, before):
                    tally.add(before, sign=-1)
        if "shadow" in report:
            compared = Comparison.of(report["shadow"])
            if self.shadow is None or self.shadow.version != compared.version:
                self.shadow = Comparison(compared.version)
            self.shadow.add(compared)
            if "shadow" in last and last["shadow"]["version"] == compared.version:
                earlier = Comparison.of(last["shadow"])
                if compared.skipped >= earlier.skipped and _continues(compared.answered, earlier.answered):
                    self.shadow.add(earlier, sign=-1)
        self._last[worker] = report

    def forget(self, worker: int) -> None:
        """The worker is gone; what it did counts on."""
        self._last.pop(worker, None)

    def active(self) -> bool:
        """Whether there were predict requests since this was asked last."""
        found, self._predicted = self._predicted > 0, 0
        return found

    def seen(self, progress: Progress, routes: Routes) -> Seen:
        """What the old and the new version did in this step."""
        old, new = progress.stable or "", progress.candidate or ""
        if routes.shadow is not None:
            compared = self.shadow or Comparison(new)
            return Seen(compared.asked, compared.answered, shadow=True)
        tally = self.tallies.get
        return Seen(tally(old, Tally()), tally(new, Tally()), old_skew=self._skew(old), new_skew=self._skew(new))

    def _skew(self, version: str) -> dict[str, float]:
        """Of each column the largest of the workers': each sees the windows of all once they are kept."""
        found: dict[str, float] = {}
        for report in self._last.values():
            for column, skew in report.get("skew", {}).get(version, {}).items():
                found[column] = max(skew, found.get(column, 0.0))
        return found

    def summary(self) -> dict[str, Any] | None:
        """How the shadow's answers differ."""
        return self.shadow.summary() if self.shadow else None

    def described(self, plan: Plan, progress: Progress) -> dict[str, Any] | None:
        """The rollout for people; None where none is declared and nothing has happened."""
        if plan.rollout is None and not progress.events:
            return None
        steps = plan.rollout.steps if plan.rollout else ()
        on_way = progress.candidate is not None and plan.traffic is None
        return {
            "stable": progress.stable,
            "candidate": progress.candidate,
            "steps": list(steps),
            "percent": progress.percent if on_way else None,
            "since": progress.since if on_way else None,
            "gates": self.gates if on_way else {},
            "rejected": list(progress.rejected),
            "events": list(progress.events),
        }


def _continues(now: Tally, before: Tally) -> bool:
    """Whether no count is lower than before: else the worker was told, between two reports, to begin anew."""
    counts = ((each.answers, each.refused, each.failed, each.rows, *each.latencies) for each in (now, before))
    return all(count >= earlier for count, earlier in zip(*counts, strict=True))
