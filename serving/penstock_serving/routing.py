"""Which version answers a request: the same in every process and after every restart. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from zlib import crc32

PLACES = 2**32


@dataclass(frozen=True)
class Routes:
    """Versions by number: the weight of each that answers, and the one that answers in the shadow, if any."""

    weights: Mapping[str, float]
    shadow: str | None = None
    edges: tuple[tuple[float, str], ...] = field(init=False, repr=False, compare=False)
    """Up to which place each version answers. The newest is first: with a larger weight it keeps the keys it has."""

    def __post_init__(self) -> None:
        total, edge = sum(self.weights.values()), 0.0
        edges: list[tuple[float, str]] = []
        for version in sorted((v for v, weight in self.weights.items() if weight > 0), key=int, reverse=True):
            edge += self.weights[version] / total
            edges.append((edge * PLACES, version))
        object.__setattr__(self, "edges", tuple(edges))

    @property
    def main(self) -> str:
        """The version with the largest weight, of equal ones the newest."""
        return max(self.weights, key=lambda version: (self.weights[version], int(version)))

    @property
    def versions(self) -> list[str]:
        """Every version that is needed, in the order of their numbers."""
        needed = {version for version, weight in self.weights.items() if weight > 0}
        return sorted(needed | ({self.shadow} if self.shadow else set()), key=int)

    def version(self, key: bytes) -> str:
        """The version that answers every request of this key."""
        place = crc32(key)
        for edge, version in self.edges:
            if place < edge:
                return version
        return self.edges[-1][1]
