"""A model's columns, as the client names them: `schema.json` of the artifact."""

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from penstock_trainer.errors import InputError

SIGNATURE = "serving_default"
"""The one signature that the trainer exports."""
OUTPUT = "predictions"
"""The one output of that signature."""
LARGEST_INTEGER = 2**24
"""Beyond this magnitude float32, in which integers reach the graph, skips whole numbers."""
LARGEST_NUMBER = 3.4028234663852886e38
"""The largest float32: anything beyond it would arrive in the graph as infinity."""


class ColumnType(str, Enum):
    """What a client may post for a column."""

    NUMBER = "number"
    INTEGER = "integer"
    CATEGORY = "category"
    TEXT = "text"
    IMAGE = "image"
    """An encoded picture, as `{"b64": "..."}`."""
    TIMESTAMP = "timestamp"
    """A moment in ISO 8601."""


STRINGS = (ColumnType.CATEGORY, ColumnType.TEXT, ColumnType.IMAGE, ColumnType.TIMESTAMP)
"""Those that the graph takes as strings; the others are float32."""
OBSERVED = (ColumnType.NUMBER, ColumnType.INTEGER, ColumnType.CATEGORY)
"""Those that windows of what arrives have statistics of; of a timestamp they have its parts'."""


@dataclass(frozen=True)
class Column:
    """One column that the model's signature takes."""

    name: str
    type: ColumnType
    required: bool
    parts: tuple[str, ...] = ()
    """Of a timestamp: which of `problem.MOMENT_PARTS` the model reads."""

    @property
    def observed(self) -> dict[str, ColumnType]:
        """What windows have statistics of, and the kind of each, by name."""
        if self.type in OBSERVED:
            return {self.name: self.type}
        return {f"{self.name}_{part}": ColumnType.INTEGER for part in self.parts}


@dataclass(frozen=True)
class Schema:
    """What a client posts (`columns`; `ignored` may be carried along) and what it gets (`head`, of `label`)."""

    name: str
    head: str
    label: str
    columns: tuple[Column, ...]
    ignored: tuple[str, ...]
    classes: tuple[str, ...] = ()
    """Of head multiclass: what the numbers of a prediction are the probabilities of, in this order."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in the order in which rows hold their values."""
        return tuple(column.name for column in self.columns)

    @classmethod
    def read(cls, path: Path) -> "Schema":
        """The schema in the file `path`.

        Raises:
            InputError: the file is not a schema.
        """
        try:
            fields = json.loads(path.read_bytes())
            columns = tuple(
                Column(
                    str(column["name"]),
                    ColumnType(column["type"]),
                    bool(column["required"]),
                    tuple(str(part) for part in column.get("parts", ())),
                )
                for column in fields["columns"]
            )
            schema = cls(
                name=fields["name"],
                head=fields["head"],
                label=fields["label"],
                columns=columns,
                ignored=tuple(str(name) for name in fields["ignored"]),
                classes=tuple(str(name) for name in fields.get("classes", ())),
            )
        except KeyError as exc:
            raise InputError(f"{path} is not a schema: {exc} is missing") from exc
        except (OSError, ValueError, TypeError) as exc:
            raise InputError(f"{path} is not a schema: {exc}") from exc
        names = [*schema.names, *schema.ignored]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"{path} is not a schema: {twice[0]!r} is named twice")
        if not columns:
            raise InputError(f"{path} is not a schema: it has no columns")
        return schema
