"""The setting `monitoring` of a stack."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class MonitoringSettings(BaseModel):
    """How what the endpoint receives is watched: docs/skew.md."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_seconds: Annotated[float, Field(ge=0, le=86_400)] = 300
    """0 observes nothing."""
    minimum_rows: Annotated[int, Field(ge=1)] = 200
    """Rows that a comparison takes; smaller windows wait for the next ones."""
    windows_in_a_row: Annotated[int, Field(ge=1)] = 2
    """So many windows one after the other have to differ."""
    ignored: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Columns that alert nobody."""
    webhook: str | None = None
    """`pulumi config set --secret --path monitoring.webhook URL`. Checked by the server, which never shows it."""
