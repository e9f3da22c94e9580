"""The metrics of all workers of an endpoint, as one. Standard library only."""

from collections import Counter
from typing import Any

Snapshot = dict[str, dict[str, float]]
"""Values by what becomes of them, then by the text that tells whose they are. `counts`: added, and what a worker that
is gone has counted stays; `sums`: added over those that are there; `largest`: the largest of them."""


class Totals:
    """Counts that never go down while this process lives, whichever workers come and go."""

    def __init__(self) -> None:
        self._last: dict[int, Snapshot] = {}
        self._gone: Counter[str] = Counter()

    def add(self, worker: int, snapshot: Snapshot) -> None:
        """What a worker has counted since its start."""
        self._last[worker] = snapshot

    def forget(self, worker: int) -> None:
        """The worker is gone."""
        self._gone.update(self._last.pop(worker, {}).get("counts", {}))

    def as_json(self) -> dict[str, Any]:
        """A snapshot of all."""
        counts, sums, largest = Counter(self._gone), Counter[str](), dict[str, float]()
        for snapshot in self._last.values():
            counts.update(snapshot["counts"])
            sums.update(snapshot["sums"])
            for key, value in snapshot["largest"].items():
                largest[key] = max(value, largest.get(key, value))
        return {"counts": counts, "sums": sums, "largest": largest}
