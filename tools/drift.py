"""Whether what is deployed is still what was deployed.

drift.py STACK [--issue FILE]      exit code 1 where it is not; FILE is for an issue
"""

import sys
from pathlib import Path

from common import ToolError, say
from events import Events
from stack import Pulumi

WHAT = {"update": "was changed", "delete": "is gone"}


def found(stack: str) -> Events:
    """What a refresh would find; the state stays as it is."""
    pulumi = Pulumi(stack)
    if not pulumi.exists():
        raise ToolError(f"there is no stack {stack}")
    code, events = pulumi.watched("refresh", "--preview-only", "--non-interactive")
    if code != 0:
        raise ToolError("\n".join(events.errors) or f"the refresh failed with exit code {code}")
    return events


def issue(stack: str, events: Events) -> str:
    """What has drifted, in Markdown, for the people who are to put it right."""
    rows = [
        f"- `{each}` {WHAT.get(operation, operation)}{events.fields(each)}"
        for each, operation in sorted(events.operations.items())
    ]
    return "\n".join(
        [
            f"What is deployed as `{stack}` is not what the program says:",
            "",
            *rows,
            "",
            "If the change was meant, write it into the program or the settings; if not, "
            f"`make up STACK={stack}` undoes it.",
            "",
        ]
    )


def main() -> int:
    """0 nothing has drifted, 1 something has."""
    match sys.argv[1:]:
        case [stack]:
            target = None
        case [stack, "--issue", file]:
            target = Path(file)
        case arguments:
            raise ToolError(f"drift.py takes STACK [--issue FILE]; not {' '.join(arguments)!r}")
    events = found(stack)
    if not events.operations:
        say(f"{stack}: nothing has drifted")
        return 0
    text = issue(stack, events)
    if target:
        target.write_text(text, encoding="utf-8")
    say(text)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ToolError as exc:
        sys.exit(f"error: {exc}")
