"""What a deployment would do and cost, judged before it is done.

plan.py STACK [--comment FILE]      exit code 1 where it must not be done; FILE is for a pull request
"""

import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import google_stack
import settings_check
from common import ToolError, say
from events import Events
from settings import SettingsError
from stack import Pulumi, judged_by_the_pack

from penstock.gcp import pins

SHOWN = 50
"""So many changes are listed in a comment."""


def judged(stack: str) -> tuple[Events, list[str]]:
    """A preview with the policy pack, and why it must not be carried out: the project itself is asked too."""
    settings = settings_check.check(stack)
    environment = google_stack.chosen(settings)
    pack = judged_by_the_pack()
    pulumi = Pulumi(stack, settings)
    pulumi.select()
    short = google_stack.asked(environment, pulumi.captured, bool(settings.verify_key)) if environment else []
    code, events = pulumi.watched("preview", *pack, "--non-interactive")
    approved = settings.gcp.approve_replacement if settings.gcp else ()
    return events, [*short, *reasons(code, events, approved)]


def reasons(code: int, events: Events, approved: Collection[str]) -> list[str]:
    """Why a plan must not be carried out, from the engine's exit code and what it told; none: it may."""
    found = [*events.findings, *pins.refused(events.operations, approved)]
    if code != 0 and not events.findings:
        found += events.errors or [f"the preview failed with exit code {code}"]
    return found


def comment(stack: str, events: Events, refused: Sequence[str]) -> str:
    """The plan in Markdown, for the people who review it."""
    counts = Counter(_verb(operation) for operation in events.operations.values())
    what = ", ".join(f"{count} to {verb}" for verb, count in sorted(counts.items())) or "nothing changes"
    lines = [f"### `{stack}`: {what}", "", price(events.outputs.get("estimated_cost") or {}), ""]
    if refused:
        lines += ["**It must not be deployed:**", "", *(f"- {reason}" for reason in refused), ""]
    rows = [f"- {_verb(op)} `{each}`{events.fields(each)}" for each, op in sorted(events.operations.items())]
    if rows:
        further = [f"- and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
        lines += ["<details><summary>What would change</summary>", "", *rows[:SHOWN], *further, "", "</details>", ""]
    return "\n".join(lines)


def price(estimate: Mapping[str, Any]) -> str:
    """What a stack costs, in Markdown, with the rows behind it."""
    if "usd_per_hour_peak" not in estimate:
        return f"Price: {estimate.get('note', 'the stack exports no `estimated_cost`')}."
    low_high = {name: " to ".join(f"{bound:,.2f}" for bound in estimate[name]) for name in PRICES}
    table = ["| US dollars | |", "|---|---|", *(f"| {PRICES[name]} | {each} |" for name, each in low_high.items())]
    unknown = estimate.get("without_a_price")
    gaps = [f"Not counted, as no price is recorded: {', '.join(unknown)}.", ""] if unknown else []
    rows = [f"- {row}" for row in estimate.get("rows", ())]
    behind = ["<details><summary>The rows behind it</summary>", "", *rows, "", f"{estimate['note']}.", "</details>"]
    return "\n".join([*table, "", *gaps, *behind])


PRICES = {
    "usd_per_hour_idle": "an hour in which nothing happens",
    "usd_per_month_idle": "a month of those",
    "usd_per_hour_peak": "an hour at the peak",
    "usd_per_run": "one run",
}


def _verb(operation: str) -> str:
    return "replace" if operation in pins.REPLACING else operation


def main() -> int:
    """0 it may be done, 1 it must not."""
    match sys.argv[1:]:
        case [stack]:
            target = None
        case [stack, "--comment", file]:
            target = Path(file)
        case arguments:
            raise ToolError(f"plan.py takes STACK [--comment FILE]; not {' '.join(arguments)!r}")
    events, refused = judged(stack)
    if target:
        target.write_text(comment(stack, events, refused), encoding="utf-8")
    for reason in refused:
        say(reason)
    return 1 if refused else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ToolError, SettingsError) as exc:
        sys.exit(f"error: {exc}")
