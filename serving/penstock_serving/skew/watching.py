"""Windows one after the other: how long has which measure been beyond its threshold, and is that skew?"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock_serving.skew import report
from penstock_serving.skew.comparison import ColumnComparison, Measure, Rules, refused
from penstock_serving.skew.simulating import Draw, Simulated, simulate
from penstock_serving.skew.windows import PREDICTIONS, Window, merged
from penstock_trainer.statistics import ColumnStatistics, NumberStatistics, Statistics

Measures = Mapping[str, Mapping[str, Measure]]
"""By column, by name."""
HORIZON = 48
"""Stretches that are looked back on: none of the running alarms is older than what it says."""


@dataclass(frozen=True)
class Stretch:
    """The windows of all replicas of one time, with so many neighbours that there are rows enough to compare."""

    window: Window
    """Of all but the last, without statistics."""
    measures: Measures

    def outline(self) -> "Stretch":
        """The same without statistics."""
        return Stretch(self.window.outline(), self.measures) if self.window.columns else self


class Watch:
    """Judges the windows of one model; `training` are its training rows' columns, `predictions` its sealed answers."""

    def __init__(
        self,
        training: Statistics,
        predictions: NumberStatistics | None,
        rules: Rules,
        simulated: Simulated | None = None,
        simulate: Callable[[Mapping[str, Draw]], Simulated] = simulate,
    ) -> None:
        """`simulated`: noise floors that are known from before; those that are found out, by `simulate`, are added."""
        self.rules = rules
        self._simulate = simulate
        self.simulated: Simulated = {} if simulated is None else simulated

        def compared(name: str, column: ColumnStatistics) -> ColumnComparison:
            return ColumnComparison(name, column, rules, self.simulated)

        self.columns = {name: compared(name, column) for name, column in training.items()}
        self.predictions = compared(PREDICTIONS, predictions) if predictions is not None else None
        self._compared: dict[tuple[str, ...], Stretch] = {}

    def judge(self, windows: Mapping[str, Window], whole: Callable[[str], Window] | None = None) -> "Verdict":
        """The state of affairs after these windows, given by key in any order.

        `whole` gives a window with its statistics, by its key, where `windows` are without: they are looked at once.
        """
        stretches: dict[tuple[str, ...], Stretch] = {}
        *enough, waiting = self.together(windows)
        for keys in map(tuple, enough):
            if stretches:
                before, stretch = stretches.popitem()
                stretches[before] = stretch.outline()
            known = self._compared.get(keys)
            stretches[keys] = known or self._compare(map(whole or windows.__getitem__, keys))
        self._compared = stretches
        return Verdict(self, [*stretches.values()][-HORIZON:], sum(windows[key].received for key in waiting))

    def together(self, windows: Mapping[str, Window]) -> list[list[str]]:
        """The keys of the windows that are looked at together, in the order of time; the last ones wait for more rows.

        They wait until so many rows were answered, or refused, that they can be compared.
        """
        found: list[list[str]] = [[]]
        rows = refused = 0
        for group in _simultaneous(windows):
            found[-1] += [key for key, _ in group]
            rows += sum(window.rows for _, window in group)
            refused += sum(window.received - window.rows for _, window in group)
            if max(rows, refused) >= self.rules.minimum_rows:
                found.append([])
                rows = refused = 0
        return found

    @property
    def ends(self) -> dict[str, float]:
        """By the key of each window whose statistics have been looked at, the end of what it was looked at with."""
        return {key: stretch.window.end for keys, stretch in self._compared.items() for key in keys}

    def comparison(self, column: str) -> ColumnComparison | None:
        """What compares a column, or the predictions; None for one that training did not have."""
        return self.columns.get(column, self.predictions if column == PREDICTIONS else None)

    def _compare(self, windows: Iterable[Window]) -> Stretch:
        window = merged(windows)
        found: dict[str, dict[str, Measure]] = {}
        columns = observed(window) if window.rows >= self.rules.minimum_rows else {}
        compared = [(each, columns[name]) for name in columns if (each := self.comparison(name)) is not None]
        draws = {key: draw for each, column in compared for key, draw in each.unknown(column).items()}
        if draws:
            self.simulated.update(self._simulate(draws))
        for each, column in compared:
            found[each.name] = each.measures(column)
        for name, reasons in window.refused.items():
            found.setdefault(name, {})["refused"] = refused(reasons.total(), window.received)
        return Stretch(window, found)


class Verdict:
    """What a watch found: `status` is `waiting` (too few rows so far), `quiet`, `moved` (a first time) or `skew`."""

    def __init__(self, watch: Watch, stretches: Sequence[Stretch], waiting_rows: int) -> None:
        self.watch = watch
        self.stretches = stretches
        self.waiting_rows = waiting_rows
        self.since = _since(stretches, watch.rules.windows_in_a_row)
        """By column and measure: from when on it has been beyond its threshold, and whether for long enough."""
        self.lasting = _lasting(stretches[-watch.rules.windows_in_a_row :], watch.rules)
        """By column that is not ignored, what its largest measure has reached in all of the last `windows_in_a_row`
        stretches, as a multiple of its threshold: beyond 1 is skew. Empty before there are so many.
        """

    @property
    def status(self) -> str:
        """The worst of all columns that are not ignored."""
        if not self.stretches:
            return "waiting"
        states = {self.column_status(name) for name in self.since}
        return next((state for state in ("skew", "moved") if state in states), "quiet")

    @property
    def excess(self) -> float:
        """The largest measure of the last stretch as a multiple of its threshold: beyond 1 is beyond the threshold."""
        last = self.stretches[-1].measures if self.stretches else {}
        ignored = self.watch.rules.ignored
        return max((m.excess for name, each in last.items() if name not in ignored for m in each.values()), default=0.0)

    def column_status(self, name: str) -> str:
        """`ignored`, `skew`, `moved` or `quiet`."""
        if name in self.watch.rules.ignored:
            return "ignored"
        moved = self.since.get(name)
        if not moved:
            return "quiet"
        return "skew" if any(lasting for _, lasting in moved.values()) else "moved"

    @property
    def said(self) -> list[str]:
        """A sentence for each column that is skewed, the worst first."""
        names = [name for name in self.since if self.column_status(name) == "skew"]
        last = self.stretches[-1].measures if self.stretches else {}
        return [self.sentence(name) for name in sorted(names, key=lambda n: -max(m.excess for m in last[n].values()))]

    def sentence(self, name: str) -> str:
        """What moved in a column and since when; empty where nothing did."""
        moved = self.since.get(name)
        if not moved:
            return ""
        last, comparison = self.stretches[-1], self.watch.comparison(name)
        measures = {measure: last.measures[name][measure] for measure in moved}
        parts: list[str] = []
        if "refused" in measures:
            parts.append(report.refused(name, measures.pop("refused"), last.window.refused[name]))
        if measures and comparison is not None:
            parts.append(report.sentence(name, comparison, observed(last.window)[name], measures))
        began = min(start for start, _ in moved.values())
        return f"{' and '.join(parts)} since {report.since(began)}"

    def to_json(self) -> dict[str, Any]:
        """All of it; `columns` holds the distributions of the last stretch beside those of training."""
        last = self.stretches[-1] if self.stretches else None
        began = [
            start
            for name, measures in self.since.items()
            for start, lasting in measures.values()
            if lasting and name not in self.watch.rules.ignored
        ]
        rules = self.watch.rules
        found = observed(last.window) if last else {}
        every = {**self.watch.columns, **({PREDICTIONS: self.watch.predictions} if self.watch.predictions else {})}
        return {
            "status": self.status,
            "since": report.iso(min(began)) if began else None,
            "said": self.said,
            "excess": float(f"{self.excess:.4g}"),
            "rows": last.window.rows if last else 0,
            "refused": last.window.refused if last else {},
            "waiting_rows": self.waiting_rows,
            "window": {"start": report.iso(last.window.start), "end": report.iso(last.window.end)} if last else None,
            "rules": {
                "minimum_rows": rules.minimum_rows,
                "windows_in_a_row": rules.windows_in_a_row,
                "chance": rules.chance,
                "ignored": sorted(rules.ignored),
            },
            "columns": {
                name: {
                    "status": self.column_status(name),
                    "said": self.sentence(name),
                    "measures": report.measures(last.measures.get(name, {})) if last else {},
                    **report.distributions(comparison, found.get(name)),
                }
                for name, comparison in every.items()
            },
        }


def observed(window: Window) -> dict[str, ColumnStatistics]:
    """A window's columns, and its predictions as one of them."""
    return {**window.columns, PREDICTIONS: window.predictions}


def _simultaneous(windows: Mapping[str, Window]) -> list[list[tuple[str, Window]]]:
    """Windows that overlap, as those of several replicas do, in groups; in the order of time."""
    groups: list[list[tuple[str, Window]]] = []
    for key, window in sorted(windows.items(), key=lambda item: (item[1].start, item[0])):
        if groups and window.start < groups[-1][0][1].end:
            groups[-1].append((key, window))
        else:
            groups.append([(key, window)])
    return groups


def _since(stretches: Sequence[Stretch], in_a_row: int) -> dict[str, dict[str, tuple[float, bool]]]:
    """(start of the run, whether it is long enough) of every measure that is beyond its threshold now."""
    runs: dict[str, dict[str, tuple[float, bool]]] = {}
    if not stretches:
        return runs
    for name, measures in stretches[-1].measures.items():
        for measure, value in measures.items():
            if not value.exceeded:
                continue
            run = 0
            for stretch in reversed(stretches):
                before = stretch.measures.get(name, {}).get(measure)
                if before is None or not before.exceeded:
                    break
                run += 1
            runs.setdefault(name, {})[measure] = (stretches[-run].window.start, run >= in_a_row)
    return runs


def _lasting(last: Sequence[Stretch], rules: Rules) -> dict[str, float]:
    found: dict[str, float] = {}
    if len(last) == rules.windows_in_a_row:
        for name in last[-1].measures.keys() - rules.ignored:
            excesses = [{m: value.excess for m, value in each.measures.get(name, {}).items()} for each in last]
            found[name] = max((min(e.get(m, 0.0) for e in excesses) for m in excesses[-1]), default=0.0)
    return found
