"""The simulated cloud: what exists, kept in a file between commands, and the faults that a test has scripted."""

import fcntl
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Cloud:
    """A folder: `resources.json` (what exists), `faults.json` (what is to go wrong), `calls.jsonl` (what was asked)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def resources(self) -> Iterator[dict[str, Any]]:
        """What exists, by id; changes are kept."""
        with self._open("resources.json") as content:
            yield content

    def existing(self) -> dict[str, Any]:
        """What exists, by id."""
        with self.resources() as found:
            return dict(found)

    def script(self, *faults: dict[str, Any]) -> None:
        """What is to go wrong: `operation` (create, update, delete), `type` (a pattern), `error`; if wished, `times`,
        `partial` (the resource exists all the same) and `seconds` (how long it takes)."""
        with self._open("faults.json") as content:
            content["faults"] = list(faults)

    def fault(self, operation: str, type_: str) -> dict[str, Any] | None:
        """The fault that meets this operation; it is used up."""
        with self._open("faults.json") as content:
            for fault in content.get("faults", []):
                left = fault.get("times", 1)
                if fault["operation"] == operation and re.search(fault["type"], type_) and left > 0:
                    fault["times"] = left - 1
                    return fault
        return None

    def note(self, operation: str, type_: str, id_: str) -> None:
        """Remembers what was asked of the cloud."""
        with (self._folder / "calls.jsonl").open("a") as file:
            file.write(json.dumps([operation, type_, id_]) + "\n")

    def calls(self, *operations: str) -> list[tuple[str, str, str]]:
        """What was asked of the cloud, in order."""
        file = self._folder / "calls.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [tuple(entry) for entry in map(json.loads, lines) if not operations or entry[0] in operations]

    @contextmanager
    def _open(self, name: str) -> Iterator[dict[str, Any]]:
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = self._folder / name
            content = json.loads(file.read_text()) if file.exists() else {}
            before = json.dumps(content)
            yield content
            after = json.dumps(content)
            if after != before:
                partial = file.with_suffix(".part")
                partial.write_text(after)
                partial.replace(file)
