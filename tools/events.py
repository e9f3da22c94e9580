"""What the engine tells of a preview, a deployment or a refresh: its event log, one JSON object a line."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STACK = "pulumi:pulumi:Stack"
UNCHANGED = ("same", "read", "refresh")
SIGNATURE = "4dabf18193072939515e22adb298388d"
"""Marks an object that stands for a secret, which Pulumi has taken out of it."""
SECRET = "[secret]"


@dataclass(frozen=True)
class Events:
    """One run of the engine."""

    operations: Mapping[str, str] = field(default_factory=dict[str, str])
    """By `type name`; what stays the same is left out."""
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """By `type name`: the properties that differ, as far as the provider tells."""
    findings: tuple[str, ...] = ()
    """Of policies that stop a deployment, as `rule: what`."""
    errors: tuple[str, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The stack's, as `pulumi stack output` tells them."""

    def fields(self, each: str) -> str:
        """The properties of one that differ, in words to put behind its name."""
        found = self.changed.get(each, ())
        return f": {', '.join(found)}" if found else ""


def read(lines: Iterable[str]) -> Events:
    """From the lines of an event log."""
    operations: dict[str, str] = {}
    changed: dict[str, tuple[str, ...]] = {}
    findings: list[str] = []
    errors: list[str] = []
    outputs: dict[str, Any] = {}
    for event in map(json.loads, lines):
        for kind in ("resourcePreEvent", "resOutputsEvent"):
            if kind in event:
                _step(event[kind]["metadata"], operations, changed, outputs)
        policy = event.get("policyEvent")
        if policy and policy["enforcementLevel"] == "mandatory":
            findings.append(f"{policy['policyName']}: {policy['message'].strip().splitlines()[-1]}")
        diagnostic = event.get("diagnosticEvent")
        if diagnostic and diagnostic["severity"] == "error":
            errors.append(diagnostic["message"].strip())
    return Events(operations, changed, tuple(sorted(findings)), tuple(errors), outputs)


def load(file: Path) -> Events:
    """From an event log, which is not there where the engine was not reached."""
    return read(file.read_text(encoding="utf-8").splitlines()) if file.exists() else Events()


def _step(
    step: Mapping[str, Any],
    operations: dict[str, str],
    changed: dict[str, tuple[str, ...]],
    outputs: dict[str, Any],
) -> None:
    types, _, name = step["urn"].rpartition("::")
    named = f"{types.rpartition('::')[2].rpartition('$')[2]} {name}"
    if step["type"] == STACK:
        outputs.update(_told((step.get("new") or {}).get("outputs") or {}))
    if step["op"] not in UNCHANGED:
        operations[named] = step["op"]
        paths = step.get("detailedDiff") or dict.fromkeys(step.get("diffs") or ())
        # A replacement is several steps, of which one knows what differs.
        fields = {path.partition(".")[0].partition("[")[0] for path in paths}
        changed[named] = tuple(sorted(fields.union(changed.get(named, ()))))


def _told(value: Any) -> Any:
    if isinstance(value, dict):
        return SECRET if SIGNATURE in value else {name: _told(each) for name, each in value.items()}
    return [_told(each) for each in value] if isinstance(value, list) else value
