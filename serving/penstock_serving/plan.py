"""What an endpoint is to serve: the file that `pulumi up` writes and the supervisor reads. Standard library only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class PlanError(ValueError):
    """The file is not a plan; the message says what is wrong with it."""


@dataclass(frozen=True)
class Version:
    """One sealed model."""

    path: str
    digest: str


@dataclass(frozen=True)
class Rollout:
    """How a new version takes over: step by step, as long as the gates hold."""

    steps: tuple[float, ...] = (0, 1, 10, 50, 100)
    """Percent of the traffic, ascending; 0 is the shadow. The last one is 100."""
    step_seconds: float = 300
    """At least so long on each step."""
    step_requests: int = 200
    """At least so many requests answered by the new version on each step; no gate judges fewer."""
    errors: float = 0.01
    """By so much the new version's share of requests without an answer may exceed the old one's."""
    latency: float = 1.5
    """So many times the old version's 99th percentile the new one's may be. Not judged in the shadow."""
    score_shift: float = 0.25
    """By so many of the old version's standard deviations the mean prediction may move."""
    skew: float = 1.0
    """How far a column of what it receives may be from what it was trained on, as a multiple of the threshold of an
    alert, where it is farther than the old version by more than chance. Not judged in the shadow."""


@dataclass(frozen=True)
class Replicas:
    """How many worker processes."""

    lowest: int = 1
    highest: int = 1
    idle_seconds: float = 300
    """After so long without a request the last worker goes, where `lowest` is 0."""


@dataclass(frozen=True)
class Plan:
    """What to serve."""

    revision: str
    """Names this plan among others."""
    name: str
    versions: Mapping[str, Version]
    latest: str
    traffic: Mapping[str, float] | None
    """Weights by version, 0 for the shadow; None: all to `latest`, by the rollout if there is one."""
    rollout: Rollout | None = None
    replicas: Replicas = field(default_factory=Replicas)

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """The plan in the file `path`.

        Raises:
            PlanError: it is none.
        """
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            rollout = content["rollout"]
            return cls(
                revision=content["revision"],
                name=content["name"],
                versions={number: Version(**version) for number, version in content["versions"].items()},
                latest=content["latest"],
                traffic=content["traffic"],
                rollout=Rollout(**{**rollout, "steps": tuple(rollout["steps"])}) if rollout else None,
                replicas=Replicas(**content["replicas"]),
            )
        except KeyError as exc:
            raise PlanError(f"{path} is not a plan: {exc} is missing") from exc
        except (OSError, ValueError, TypeError, AttributeError) as exc:
            raise PlanError(f"{path} is not a plan: {exc}") from exc
