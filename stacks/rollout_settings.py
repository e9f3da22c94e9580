"""The setting `rollout` of a stack."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Rollout(BaseModel):
    """How a new version takes over from the one that serves: docs/rollout.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: tuple[Annotated[float, Field(ge=0, le=100)], ...] = (0, 1, 10, 50, 100)
    """Percent of the traffic, ascending to 100; 0 is the shadow."""
    step_seconds: Annotated[float, Field(ge=0)] = 300
    """A step takes at least so long."""
    step_requests: Annotated[int, Field(ge=1)] = 200
    """So many answers of the new version make a step, and a gate's judgement."""
    errors: Annotated[float, Field(ge=0, le=1)] = 0.01
    """By so much its share of requests without an answer may exceed the old version's."""
    latency: Annotated[float, Field(gt=0)] = 1.5
    """So many times the old version's 99th percentile."""
    score_shift: Annotated[float, Field(ge=0)] = 0.25
    """By so many standard deviations the mean prediction may move."""
    skew: Annotated[float, Field(ge=0)] = 1.0
    """So many times the threshold of an alert."""

    @field_validator("steps")
    @classmethod
    def _ascend(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if not steps or list(steps) != sorted(set(steps)) or steps[-1] != 100:
            raise ValueError("steps ascend, and the last one is 100")
        return steps
