"""How many workers the load asks for. Neither clock nor I/O. Standard library only."""

from dataclasses import dataclass

from penstock_serving.plan import Replicas

TARGET = 16.0
"""Requests in flight that one worker is meant to have."""
MEMORY_SECONDS = 2.0
"""The load is an average over about so long."""
REST_SECONDS = 2.0
"""A worker more at most this often: the last one has to show what it takes over."""
CALM_SECONDS = 30.0
"""So long must fewer workers be enough before one goes."""


@dataclass
class Scaler:
    """Remembers the load of the last seconds."""

    load: float = 0.0
    """Requests in flight, averaged."""
    changed: float = 0.0
    busy: float = 0.0
    """When the load was last too high for fewer workers, and when the last request was."""
    active: float = 0.0
    _seen: float = 0.0

    def started(self, now: float) -> None:
        """A worker has become ready."""
        self.changed = self.busy = self.active = now

    def wanted(self, now: float, workers: int, in_flight: int, active: bool, replicas: Replicas) -> int:
        """How many workers there should be, of which `workers` are there; `active`: there were requests lately."""
        self.load += (in_flight - self.load) * min(1.0, (now - self._seen) / MEMORY_SECONDS)
        self._seen = now
        if active or in_flight:
            self.active = now
        if self.load > TARGET * (workers - 1) / 2:
            self.busy = now
        wanted = workers
        if workers and self.load > TARGET * workers and now - self.changed >= REST_SECONDS:
            wanted, self.changed = workers + 1, now
        elif workers > 1 and now - self.busy >= CALM_SECONDS:
            wanted, self.busy = workers - 1, now
        elif workers == 1 and replicas.lowest == 0 and now - self.active >= replicas.idle_seconds:
            return 0
        return min(max(wanted, replicas.lowest), max(1, replicas.highest))
