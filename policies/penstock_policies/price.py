"""What a stack may cost: judged by the estimate that it exports itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from penstock_policies.resource import UNKNOWN, Settings

NAME = "price-ceiling"
DESCRIPTION = (
    "The estimate at the peak is below `gcp.usd_per_hour_at_most`, and an idle month is within the budget; "
    "where the stack sets neither, below the policy's own `usd_per_hour`."
)


def findings(outputs: Mapping[str, Any], settings: Settings, ceiling: float | None) -> Iterator[str]:
    """What is too dear in a stack's outputs; `ceiling` is the pack's own, in US dollars an hour, None for none."""
    ceiling = settings.usd_per_hour_at_most if settings.usd_per_hour_at_most is not None else ceiling
    estimate = outputs.get("estimated_cost")
    if estimate is UNKNOWN or (ceiling is None and settings.usd_per_month is None):
        return
    if not isinstance(estimate, Mapping):
        yield "exports no `estimated_cost`, so whether it is below the ceiling is not known: export it"
        return
    if ceiling is not None:
        yield from _peak(estimate, ceiling)
    month = _upper(estimate, "usd_per_month_idle")
    if settings.usd_per_month is not None and month is not None and month > settings.usd_per_month:
        yield (
            f"costs {month:g} USD in a month in which nothing happens, the budget is {settings.usd_per_month:g}: take "
            "away what is always there, or raise `gcp.budget.usd_per_month`"
        )


def _peak(estimate: Mapping[str, Any], ceiling: float) -> Iterator[str]:
    peak = _upper(estimate, "usd_per_hour_peak")
    if peak is None:
        peak = estimate.get("usd_per_hour")
    if peak is None:
        yield "does not know what it costs an hour, so whether it is below the ceiling is not known"
    elif peak > ceiling:
        yield (
            f"costs up to {peak:g} USD an hour at its peak, the ceiling is {ceiling:g}: ask for fewer or smaller "
            "machines, or raise `gcp.usd_per_hour_at_most`"
        )
    unknown = estimate.get("without_a_price") or []
    if unknown:
        yield f"has no price for {', '.join(unknown)}: put yours into `gcp.prices`"


def _upper(estimate: Mapping[str, Any], name: str) -> float | None:
    found = estimate.get(name)
    return found[1] if isinstance(found, list | tuple) and len(found) == 2 else None
