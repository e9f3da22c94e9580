"""What is done when a budget runs out: from Google's message about it to the stages that are reached.

A stage is a state of things, not an event: each message brings about what its stage says, and takes back what it no
longer says (a new month, a larger budget). What was there before is written on the thing itself, so a message that
comes twice changes nothing, and what somebody else has stopped stays so. Runs in the function that `BudgetGuard` makes,
with nothing of Pulumi: `handle` is what it calls.
"""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.errors import PenstockError
from penstock.gcp.guarded import Guarded, restrained
from penstock.gcp.storage_api import Storage

SETTINGS = "PENSTOCK_GUARD"
"""Environment variable of the function: the fields of `Guarded` as JSON."""
STAGES = ("warn", "stop_trials", "scale_to_zero")
STATE = "budget.json"
"""The object of the guard's own bucket that says how far it is."""


def records(project: str, name: str) -> str:
    """The bucket of the guard `name`."""
    return f"{project}-{name}-guard"


@dataclass(frozen=True)
class Spending:
    """What Google says of a budget."""

    cost: float
    budget: float
    currency: str
    since: str
    """Beginning of the period, RFC 3339."""
    told: str
    """When it was said, RFC 3339."""

    @property
    def share(self) -> float:
        """Of the budget."""
        return self.cost / self.budget


def spending(event: Any) -> Spending:
    """What a Pub/Sub message of a budget says; raises PenstockError for any other."""
    try:
        message = event["message"]
        content = json.loads(base64.b64decode(message["data"]))
        found = Spending(
            float(content["costAmount"]),
            float(content["budgetAmount"]),
            str(content["currencyCode"]),
            str(content["costIntervalStart"]),
            str(message["publishTime"]),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise PenstockError(f"no message of a budget ({type(exc).__name__}: {exc}): {str(event)[:300]}") from exc
    if not 0 < found.budget < float("inf") or not 0 <= found.cost < float("inf"):
        raise PenstockError(f"a message of a budget with the cost {found.cost} of {found.budget}")
    return found


def reached(share: float, stages: Mapping[str, float]) -> list[str]:
    """The stages whose share of the budget is spent."""
    return [stage for stage in STAGES if stage in stages and share >= stages[stage]]


def handle(event: Any) -> None:
    """Acts on a message. One that is none of a budget's is told and let go: sent again it would be no better.

    Raises:
        PenstockError: Google or the cluster does not answer as it should; the message is sent again.
    """
    guarded = Guarded(**json.loads(os.environ[SETTINGS]))
    try:
        told = spending(event)
    except PenstockError as exc:
        print(json.dumps({"severity": "ERROR", "message": str(exc)}), flush=True)
        return
    state = act(guarded, told)
    severity = "WARNING" if state["stages"] else "INFO"
    print(json.dumps({"severity": severity, "message": in_words(state), "state": state}), flush=True)


def act(guarded: Guarded, told: Spending) -> dict[str, Any]:
    """Brings about what the stages say; the state, which is written down too."""
    storage = Storage()
    before: dict[str, Any] = storage.json(guarded.records, STATE) or {}
    if before and told.told < before["told"]:
        # Messages may come out of order: what is known is newer.
        return before
    stages = reached(told.share, guarded.stages)
    changed = list(restrained(guarded, storage, stages))
    state = {
        "stages": stages,
        "share": round(told.share, 4),
        "cost": told.cost,
        "budget": told.budget,
        "currency": told.currency,
        "since": told.since,
        "told": told.told,
        "changed": changed or (before.get("changed", []) if stages == before.get("stages") else []),
    }
    storage.write(guarded.records, STATE, state)
    return state


def in_words(state: Mapping[str, Any]) -> str:
    """The state for people."""
    spent = f"{state['share']:.0%} of the budget is spent ({state['cost']:.2f} of {state['budget']:.2f})"
    stages = ", ".join(state["stages"]) or "nothing is restricted"
    return "; ".join([spent, stages, *state["changed"]])
