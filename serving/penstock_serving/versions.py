"""The versions of one model in one server, and which of them answers."""

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet

from penstock_serving.errors import NotFoundError
from penstock_serving.explaining import shorten
from penstock_serving.routing import Routes
from penstock_serving.served import ServedModel
from penstock_serving.shadow import Shadow
from penstock_serving.tally import Tally

PREFIX = 8
"""So many characters of a digest's hexadecimal part name a version, or more."""


class Versions:
    """All versions load before any answers; `only` is set while one version answers everything."""

    def __init__(self, served: Sequence[ServedModel], routes: Routes | None = None) -> None:
        """Nothing is loaded yet. Without routes the first version answers everything."""
        self._served = {each.version: each for each in served}
        self.name = served[0].name
        self.metrics = served[0].server_metrics
        self.shadow: Shadow | None = None
        self.tallies: dict[str, Tally] | None = None
        """What each version did, by number; counted only while there is something to compare or to decide."""
        self.only: ServedModel | None = None
        self._retired: WeakSet[ServedModel] = WeakSet()
        """Those that no route needs any more, as long as they are not gone."""
        self.routes = routes or Routes({served[0].version: 100})
        self.main = self._served[self.routes.main]

    def __iter__(self) -> Any:
        return iter(self._served.values())

    @property
    def available(self) -> bool:
        """Whether every version can answer."""
        return all(each.available for each in self)

    @property
    def settled(self) -> bool:
        """Whether every version is."""
        return all(each.settled for each in self)

    def start(self, failed: Callable[[Exception], None]) -> None:
        """Begin to load every version; called in the event loop."""
        for each in self:
            each.start(failed)
        self.direct(self.routes)

    def direct(self, routes: Routes, deciding: bool = False) -> None:
        """Send requests this way from now on; what no route needs any more goes once it has answered.

        `deciding`: somebody reads the tallies.

        Raises:
            KeyError: a version is not here; nothing has changed.
        """
        for version in routes.versions:
            self._served[version]
        for version in self._served.keys() - set(routes.versions):
            gone = self._served.pop(version)
            self._retired.add(gone)
            gone.retire()
        self.routes, self.main = routes, self._served[routes.main]
        self.only = self.main if len(routes.edges) == 1 else None
        if not deciding and routes.shadow is None:
            self.tallies = None
        elif self.tallies is None:
            self.tallies = {}
        if self.shadow is not None and self.shadow.candidate.version != routes.shadow:
            self.shadow.stop()
            self.shadow = None
        if routes.shadow is not None and self.shadow is None:
            self.shadow = Shadow(self._served[routes.shadow])
        share = sum(routes.weights.values())
        for each in self:
            each.metrics.weight.set(routes.weights.get(each.version, 0) / share)

    def choose(self, key: bytes) -> ServedModel:
        """The version that answers requests of this key."""
        return self._served[self.routes.version(key)]

    def find(self, asked: str) -> ServedModel:
        """The version that a path names: by its number, or by the beginning of its digest.

        Raises:
            NotFoundError: there is none, or the beginning fits two.
        """
        found = [self._served[asked]] if asked in self._served else []
        if not found and len(asked) >= PREFIX:
            found = [each for each in self if each.sealed.digest.removeprefix("sha256:").startswith(asked)]
        if len(found) == 1:
            return found[0]
        which = "has two versions" if found else "has no version"
        raise NotFoundError(f"model {self.name!r} {which} {shorten(asked)}: it has {', '.join(self._served)}")

    def tally(self, served: ServedModel, status: int, seconds: float, predictions: list[float] | None) -> None:
        """Count one request of `served`."""
        if self.tallies is not None:
            self.tallies.setdefault(served.version, Tally()).answered(status, seconds, predictions)

    def give_up(self) -> None:
        """The versions that are not loaded yet will not be any more: say so to every request that waits."""
        for each in self:
            each.give_up()

    def stop(self) -> None:
        """End every thread; called when no request is in flight any more."""
        if self.shadow is not None:
            self.shadow.stop()
        for each in (*self, *self._retired):
            each.stop()
