"""The versions that a local endpoint has known, and the names by which a stack's `traffic` speaks of them."""

from collections.abc import Mapping
from typing import TypedDict

from penstock.errors import ServiceFailed

DIGITS = 8
"""So many hexadecimal digits of a digest name a version, or more."""


class Version(TypedDict):
    """One sealed model, under the number it was given."""

    number: int
    path: str
    digest: str


def arrived(known: list[Version], path: str, digest: str) -> list[Version]:
    """The versions, the last to arrive last: a new model gets the next number, one that came back keeps its own."""
    number = next(
        (v["number"] for v in known if v["digest"] == digest), 1 + max((v["number"] for v in known), default=0)
    )
    others = [version for version in known if version["digest"] != digest]
    return [*others, {"number": number, "path": path, "digest": digest}]


def led(served: list[str], version: str) -> list[str]:
    """The versions that answered, one after the other, up to this one; to go back to one forgets what came after it."""
    return served[: served.index(version) + 1] if version in served else [*served, version]


def leader(weights: Mapping[str, float]) -> str:
    """Of the versions that share the traffic, the one with most of it; of equals, the first that was named."""
    return max(weights, key=lambda number: weights[number])


def resolved(traffic: Mapping[str, float], known: list[Version]) -> dict[str, float]:
    """The weights by number, from weights by `latest`, `previous`, number, or beginning of a digest.

    Raises:
        ServiceFailed: a name is nobody's, or two names are one version's.
    """
    weights: dict[str, float] = {}
    for name, weight in traffic.items():
        number = str(_named(name, known)["number"])
        if number in weights:
            raise ServiceFailed(f"setting 'traffic' names version {number} twice, the second time as {name!r}")
        weights[number] = weight
    return weights


def served(traffic: Mapping[str, float], known: list[Version]) -> dict[str, Version]:
    """The versions themselves, by the names that `traffic` has for them; ServiceFailed as for `resolved`."""
    numbers = {str(version["number"]): version for version in known}
    return {name: numbers[number] for name, number in zip(traffic, resolved(traffic, known), strict=True)}


def _named(name: str, known: list[Version]) -> Version:
    if name == "latest":
        return known[-1]
    if name == "previous" and len(known) > 1:
        return known[-2]
    start = name.removeprefix("sha256:")
    found = [version for version in known if str(version["number"]) == name]
    if not found and len(start) >= DIGITS:
        found = [version for version in known if version["digest"].removeprefix("sha256:").startswith(start)]
    if len(found) != 1:
        have = ", ".join(f"{v['number']} ({v['digest'].removeprefix('sha256:')[:12]})" for v in known)
        raise ServiceFailed(
            f"setting 'traffic' names {name!r}: expected latest, previous, a version's number or at least {DIGITS} "
            f"digits of its digest; the endpoint knows {have}"
        )
    return found[0]
