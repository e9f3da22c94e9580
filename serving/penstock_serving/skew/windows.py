"""A window: the statistics of what one server process received in one stretch of time, and its sealed form on disk.

`<folder>/<key>/` holds `statistics.json` (the columns), `predictions.json`, `refused.json` (rows by column and reason)
and, written last, `manifest.json`, as any artifact does: a window is there whole or not at all.
"""

import calendar
import contextlib
import json
import logging
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock_trainer import statistics
from penstock_trainer.artifacts import MANIFEST, file_digest, seal, verify
from penstock_trainer.errors import InputError
from penstock_trainer.statistics import ColumnStatistics, NumberStatistics, Statistics

KIND = "observation"
PREDICTIONS = "predictions"
UNKNOWN = "(unknown)"
"""Stands for every column that the model does not have."""
REFUSED = "refused.json"
STAMP = "%Y%m%dT%H%M%SZ"
KEY = re.compile(r"-\d{8}T\d{6}Z-")
"""Of a window, after what it begins with for its model."""
ABANDONED_SECONDS = 3600
"""After so long a window that is not whole will not be finished: writing one takes less than a second."""

logger = logging.getLogger("penstock_serving")


@dataclass
class Window:
    """What arrived from `start` to `end` (seconds since 1970) for the model of digest `model`."""

    model: str
    start: float
    end: float
    rows: int = 0
    columns: Statistics = field(default_factory=dict[str, ColumnStatistics])
    predictions: NumberStatistics = field(default_factory=NumberStatistics)
    refused: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    """Rows that got no answer, by the column at fault and the reason."""

    @property
    def received(self) -> int:
        """Rows, answered or refused."""
        return self.rows + sum(reasons.total() for reasons in self.refused.values())

    def outline(self) -> "Window":
        """The same without its statistics, which take most of a MiB."""
        return Window(self.model, self.start, self.end, self.rows, refused=self.refused)

    def add(self, other: "Window") -> None:
        """Take the rows of `other` in; `other` stays as it is."""
        self.start, self.end = min(self.start, other.start), max(self.end, other.end)
        self.rows += other.rows
        self.predictions.merge(other.predictions)
        for name, column in other.columns.items():
            own = self.columns.setdefault(name, type(column)())
            own.merge(column)  # pyright: ignore[reportArgumentType] (a column has one type in all windows of a model)
        for name, reasons in other.refused.items():
            self.refused.setdefault(name, Counter()).update(reasons)


def merged(windows: Iterable[Window]) -> Window:
    """One window of the rows of all."""
    first, *others = windows
    total = Window(first.model, first.start, first.end)
    for window in (first, *others):
        total.add(window)
    return total


class WindowFolder:
    """The folder of all windows, of every model, process and machine that serves; may be shared."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, window: Window, replica: str) -> str:
        """Seal a window; returns its key. `replica` tells processes apart that observe at the same time."""
        key = f"{prefix(window.model)}-{_stamp(window.start)}-{replica}"
        partial = self.path / f".{key}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / "statistics.json").write_text(json.dumps(statistics.to_json(window.columns)))
        (partial / "predictions.json").write_text(json.dumps(statistics.to_json({PREDICTIONS: window.predictions})))
        (partial / REFUSED).write_text(json.dumps(window.refused))
        span: Mapping[str, float | str] = {"start": window.start, "end": window.end, "replica": replica}
        seal(
            partial,
            kind=KIND,
            inputs={"model": window.model},
            code=file_digest(Path(statistics.__file__)),
            parameters=span,
            counts={"rows": window.rows},
        )
        partial.rename(self.path / key)
        return key

    def keys(self, model: str) -> list[str]:
        """The keys of the windows of the model of this digest, the oldest first."""
        try:
            found = [path.name for path in self.path.iterdir() if KEY.match(path.name.removeprefix(prefix(model)))]
        except FileNotFoundError:
            return []
        return sorted(key for key in found if (self.path / key / MANIFEST).is_file())

    def outline(self, key: str, model: str) -> Window:
        """A window whose seal holds, without its statistics.

        Raises:
            InputError: it does not hold, or the window is not one of this model.
        """
        folder = self.path / key
        manifest = verify(folder)
        if manifest.kind != KIND or manifest.inputs.get("model") != model:
            raise InputError(f"{folder} is no window of observations of the model {model}")
        try:
            start, end = float(manifest.parameters["start"]), float(manifest.parameters["end"])
            rows = int(manifest.counts["rows"])
            refused: dict[str, Any] = json.loads((folder / REFUSED).read_bytes()) if REFUSED in manifest.files else {}
            reasons = {name: Counter({str(r): int(n) for r, n in each.items()}) for name, each in refused.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise InputError(f"{folder} is no window of observations: {exc!r}") from exc
        return Window(model, start, end, rows, refused=reasons)

    def read(self, key: str, model: str) -> Window:
        """A window whose seal holds.

        Raises:
            InputError: it does not hold, or the window is not one of this model.
        """
        window, folder = self.outline(key, model), self.path / key
        try:
            window.columns = statistics.from_json(json.loads((folder / "statistics.json").read_bytes()))
            predictions = statistics.from_json(json.loads((folder / "predictions.json").read_bytes()))[PREDICTIONS]
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise InputError(f"{folder} is no window of observations: {exc!r}") from exc
        assert isinstance(predictions, NumberStatistics)
        window.predictions = predictions
        return window

    def keep(self, model: str, windows: int) -> None:
        """Remove all but the newest windows of the model, and what killed processes have begun to write; another
        process may do the same at the same time.
        """
        for key in self.keys(model)[:-windows]:
            shutil.rmtree(self.path / key, ignore_errors=True)
        for partial in self.path.glob(f".{prefix(model)}-*.partial"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - partial.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(partial, ignore_errors=True)


def prefix(model: str) -> str:
    """What the keys of a model's windows begin with."""
    return model.removeprefix("sha256:")[:16]


def began(key: str) -> float:
    """When the window of this key began, to the second."""
    return float(calendar.timegm(time.strptime(key.split("-")[1], STAMP)))


def _stamp(seconds: float) -> str:
    return time.strftime(STAMP, time.gmtime(seconds))
