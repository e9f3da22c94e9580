"""What a rule sees: one resource as plain values, the stack's own settings, and what a rule is."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Properties = Mapping[str, Any]


class Unknown:
    """A value that only the deployment will tell; a preview cannot judge it, the `up` that follows does."""

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return "(known after the deployment)"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Settings:
    """What of a stack's configuration the rules depend on."""

    stack: str = "dev"
    protect: bool = False
    """Whether what holds data must survive."""
    approved: frozenset[str] = frozenset()
    """Names of resources that a deployment may replace."""
    internet: bool = False
    """Whether the endpoint was opened to the internet by name."""
    encryption_key: str | None = None
    usd_per_hour_at_most: float | None = None
    usd_per_month: float | None = None
    """The budget."""

    @classmethod
    def read(cls, stack: str, gcp: str | None) -> "Settings":
        """From the stack's name and its setting `penstock:gcp`, which is JSON where there is one."""
        given: dict[str, Any] = json.loads(gcp) if gcp else {}
        return cls(
            stack=stack,
            protect=bool(given.get("protect")) or stack == "prod",
            approved=frozenset(given.get("approve_replacement", ())),
            internet=bool(given.get("internet")),
            encryption_key=given.get("encryption_key"),
            usd_per_hour_at_most=given.get("usd_per_hour_at_most"),
            usd_per_month=(given.get("budget") or {}).get("usd_per_month"),
        )


@dataclass(frozen=True)
class Resource:
    """A resource as the engine is about to make it."""

    type: str
    name: str
    properties: Properties
    protected: bool = False
    """Whether the engine refuses to delete or replace it."""
    settings: Settings = field(default_factory=Settings)

    def at(self, path: str) -> Any:
        """The value at a dotted path, with list items by number; None where there is none, UNKNOWN where something on
        the way is not known.
        """
        return at(self.properties, path)


@dataclass(frozen=True)
class Rule:
    """A rule about single resources."""

    name: str
    description: str
    findings: Callable[[Resource], Iterator[str]]


def at(value: Any, path: str) -> Any:
    """As `Resource.at`, within a value."""
    for part in path.split("."):
        if value is UNKNOWN:
            return UNKNOWN
        if isinstance(value, Mapping):
            value = value.get(part)
        else:
            items = listed(value)
            value = items[int(part)] if part.isdecimal() and int(part) < len(items) else None
    return value


def listed(value: Any) -> list[Any]:
    """The items of a list; none where there is no list or it is not known."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []


def every(value: Any, path: str) -> list[Any]:
    """The values at a dotted path in which `*` stands for each item of a list; None where there is none."""
    above, each, below = path.partition(".*.")
    found = at(value, above)
    if not each or found is UNKNOWN:
        return [found]
    return [item for one in listed(found) for item in every(one, below)] or [None]
