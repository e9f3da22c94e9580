"""The skew of one model version: observes what it answers, keeps the windows, judges them, alerts."""

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock_serving.backends import Columns
from penstock_serving.seal import SealedModel
from penstock_serving.skew.alert import Alert
from penstock_serving.skew.comparison import Rules
from penstock_serving.skew.observing import Observer
from penstock_serving.skew.simulating import Simulated, simulate_apart
from penstock_serving.skew.watching import HORIZON, Verdict, Watch
from penstock_serving.skew.windows import PREDICTIONS, UNKNOWN, Window, WindowFolder, began, merged, prefix
from penstock_trainer import statistics
from penstock_trainer.errors import InputError
from penstock_trainer.statistics import NumberStatistics

logger = logging.getLogger("penstock_serving")

RECENT = 2
"""Windows back for which another process's may still come in; a later one has the others' statistics read again."""
OnVerdict = Callable[[Mapping[str, Mapping[str, float]], Mapping[str, bool]], None]
"""Gets, by column, each measure as a multiple of its threshold, and whether the column is skewed."""


@dataclass(frozen=True)
class Monitoring:
    """How a server watches its models."""

    folder: Path | None = None
    """Where windows are written and those of other processes are found; None: they stay in this process."""
    window_seconds: float = 300.0
    kept_windows: int = 288
    """Of each model, in the folder; the oldest go."""
    webhook: str | None = None
    rules: Rules = field(default_factory=Rules)


class SkewMonitor:
    """Little of it is in a request's way: `add` copies rows, everything else happens in a thread."""

    def __init__(
        self,
        name: str,
        version: str,
        sealed: SealedModel,
        monitoring: Monitoring,
        on_verdict: OnVerdict = lambda _excess, _skewed: None,
    ) -> None:
        self._name, self._version, self._sealed, self._settings = name, version, sealed, monitoring
        self._folder = WindowFolder(monitoring.folder) if monitoring.folder else None
        webhook = monitoring.webhook
        self._alert = alert_of(monitoring.folder, webhook, sealed.digest) if webhook else None
        self._windows: dict[str, Window] = {}
        self._end = math.inf
        """Of this process's last window: those that began later were written before the clock went back."""
        self._watch: Watch | None = None
        self._floors = Path(monitoring.folder, f"floors-{prefix(sealed.digest)}.json") if monitoring.folder else None
        """Noise floors, whose simulation takes up to half a second: one process does it, the next ones read it."""
        self._on_verdict = on_verdict
        self.verdict: Verdict | None = None
        """The latest; None before the training statistics are read, or if they cannot be."""
        self.windows = 0
        """Windows that this process has finished."""
        self.observer = Observer(
            sealed.schema.columns, sealed.digest, monitoring.window_seconds, self._keep, self._prepare
        )

    @property
    def lasting(self) -> Mapping[str, float]:
        """How far each column is from training, and stays: see `Verdict.lasting`; empty before there are verdicts."""
        return self.verdict.lasting if self.verdict else {}

    @property
    def status(self) -> str:
        """`skew`, `moved` (not yet for enough windows), `quiet`, `waiting` (too few rows) or `unavailable`."""
        return self.verdict.status if self.verdict else "unavailable"

    def start(self) -> None:
        """Begin to observe."""
        self.observer.start()

    def add(self, columns: Columns, predictions: Sequence[float], size: int) -> None:
        """Take answered rows that came as `size` bytes."""
        self.observer.add(columns, predictions, size)

    def refuse(self, column: str | None, reason: str, rows: int) -> None:
        """Take rows that were refused for a value, or the lack of one, in `column`; None: for a column that is none."""
        self.observer.refuse(UNKNOWN if column is None else column, reason, rows)

    def close(self) -> None:
        """Finish and keep the window that is open."""
        self.observer.close()

    def to_json(self) -> dict[str, Any]:
        """What `/v1/models/<name>/skew` answers."""
        head = {"name": self._name, "version": self._version, "digest": self._sealed.digest}
        verdict = self.verdict
        if verdict is None:
            return {**head, "status": "unavailable", "since": None, "said": [], "excess": 0.0, "rows": 0, "columns": {}}
        return {**head, **verdict.to_json()}

    def _prepare(self) -> None:
        """Read the training statistics, and the windows of before, in the observer's thread."""
        try:
            self._watch = read_watch(self._sealed, self._settings.rules, self._known_floors())
        except InputError as exc:
            logger.warning("no skew comparison", extra={"fields": {"model": self._name, "reason": str(exc)}})
        self._judge()

    def _keep(self, window: Window, replica: str) -> None:
        self.windows += 1
        if self._folder:
            key = self._folder.write(window, replica)
            self._folder.keep(window.model, self._settings.kept_windows)
            self._end = window.end
            self._windows = {each: kept for each, kept in self._windows.items() if kept.start < window.end}
        else:
            key = f"{window.start:.3f}-{replica}"
            # Their statistics are gone: where the clock went back they cannot be looked at together with this one.
            self._windows = {each: kept for each, kept in self._windows.items() if kept.end <= window.start}
        if self._watch is None:
            return
        self._windows[key] = window
        self._judge()
        if self._alert and self.verdict and self.verdict.status != "waiting":
            self._alert.tell(*message(self.verdict, self._name, self._version, self._sealed.digest))

    def _known_floors(self) -> Simulated:
        try:
            return json.loads(self._floors.read_bytes()) if self._floors else {}
        except (OSError, ValueError):
            return {}

    def _keep_floors(self, file: Path, floors: Simulated) -> None:
        partial = file.with_name(f".{file.name}.{self.observer.replica}")  # replicas finish their windows together
        try:
            partial.write_text(json.dumps(floors))
            partial.replace(file)
        except OSError as exc:  # they only save time: the verdict stands, and is told
            logger.warning("noise floors are not kept", extra={"fields": {"reason": str(exc)}})

    def _judge(self) -> None:
        if self._watch is None:
            return
        self._take_in(self._watch)
        self._let_go(self._watch)
        known = len(self._watch.simulated)
        self.verdict = verdict = self._watch.judge(self._windows, self._whole)
        self._forget(self._watch)
        if self._floors and len(self._watch.simulated) > known:
            self._keep_floors(self._floors, self._watch.simulated)
        if verdict.stretches:
            last = verdict.stretches[-1].measures
            excess = {name: {m: value.excess for m, value in measures.items()} for name, measures in last.items()}
            self._on_verdict(excess, {name: verdict.column_status(name) == "skew" for name in last})

    def _take_in(self, watch: Watch) -> None:
        """Add the windows of other processes, without statistics: as far back as a verdict looks."""
        if not self._folder:
            return
        keys = [key for key in self._folder.keys(self._sealed.digest) if began(key) < self._end]
        horizon = self._horizon(map(began, keys[-1:]))
        for key in reversed(keys):
            if key in self._windows:
                continue
            if began(key) <= horizon and len(watch.together(self._windows)) > self._settings.rules.windows_in_a_row:
                break
            if window := self._read(key, outline=True):
                self._windows[key] = window

    def _let_go(self, watch: Watch) -> None:
        """Drop the windows beyond the horizon; neither those that wait for rows nor the last that a verdict takes.

        What was looked at together goes together, so that the others stay as they are.
        """
        horizon = self._horizon()
        *looked_at, waiting = watch.together(self._windows)
        old = waiting[: -self._settings.kept_windows]
        for keys in looked_at[: -self._settings.rules.windows_in_a_row]:
            if max(self._windows[key].end for key in keys) <= horizon:
                old += keys
        for key in old:
            del self._windows[key]

    def _horizon(self, ends: Iterable[float] = ()) -> float:
        latest = max((*ends, *(window.end for window in self._windows.values())), default=0.0)
        return latest - HORIZON * self._settings.window_seconds

    def _whole(self, key: str) -> Window:
        """A window with its statistics; one that cannot be read any more, with no row."""
        window = self._windows[key]
        if window.columns or not window.rows:
            return window
        return self._read(key) or Window(window.model, window.start, window.end)

    def _read(self, key: str, outline: bool = False) -> Window | None:
        assert self._folder is not None, "without it no window is looked at twice"
        try:
            return (self._folder.outline if outline else self._folder.read)(key, self._sealed.digest)
        except InputError as exc:
            logger.warning("a window is left out", extra={"fields": {"reason": str(exc)}})
            return None

    def _forget(self, watch: Watch) -> None:
        """Let go of the statistics of windows that have been looked at, or can be read again, and that no late one of
        another process will be looked at together with. Those that wait and cannot be read again become one.
        """
        ends = watch.ends
        recent = max((window.end for window in self._windows.values()), default=0.0)
        recent -= RECENT * self._settings.window_seconds
        for key, window in self._windows.items():
            if window.end <= recent and (self._folder or key in ends):
                self._windows[key] = window.outline()
        waiting = watch.together(self._windows)[-1]
        if waiting and not self._folder:
            self._windows[waiting[0]] = merged([self._windows.pop(key) for key in waiting])


def alert_of(folder: Path | None, webhook: str, digest: str) -> Alert:
    """What tells a webhook of a model's skew; all that share the folder tell it once."""
    return Alert(webhook, folder / f"alert-{prefix(digest)}.json" if folder else None)


def message(verdict: Verdict, name: str, version: str, digest: str) -> tuple[list[str], dict[str, Any], list[str]]:
    """The columns that are skewed, what a webhook is told of them, and the columns that have moved only."""
    columns, moved = (
        sorted(column for column in verdict.since if verdict.column_status(column) == status)
        for status in ("skew", "moved")
    )
    said = verdict.said
    text = "; ".join(said) if said else "the skew is over"
    told = {
        "text": f"{name} version {version}: {text}",
        "model": name,
        "version": version,
        "digest": digest,
        "status": verdict.status,
        "columns": columns,
        "said": said,
    }
    return columns, told, moved


def read_watch(sealed: SealedModel, rules: Rules, simulated: Simulated | None = None) -> Watch:
    """A watch over what a sealed model receives, by the statistics of its training rows that lie beside it.

    `simulated`: noise floors that are known from before.

    Raises:
        InputError: they are missing or not readable, or a rule names a column that the model does not have.
    """
    training = _read(sealed.directory / "statistics.json")
    answers = sealed.directory / "predictions.json"
    predictions = _read(answers).get(PREDICTIONS) if answers.exists() else None
    observed = {name for column in sealed.schema.columns for name in column.observed}
    names = observed | {*sealed.schema.names}
    unknown = rules.ignored - names - {PREDICTIONS}
    if unknown:
        raise InputError(f"column {min(unknown)!r} is to be ignored, but the model has: {', '.join(sorted(names))}")
    columns = {name: column for name, column in training.items() if name in observed}
    answers = predictions if isinstance(predictions, NumberStatistics) else None
    return Watch(columns, answers, rules, simulated, simulate_apart)


def _read(path: Path) -> statistics.Statistics:
    try:
        return statistics.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise InputError(f"{path} does not hold the statistics of training rows: {exc!r}") from exc
