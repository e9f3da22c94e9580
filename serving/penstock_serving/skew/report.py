"""What a comparison found, for people and programs: one JSON object, whose sentences say it in words."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from penstock_serving.skew.comparison import ColumnComparison, Measure, VarianceRatio, largest_move
from penstock_serving.skew.training import TrainedCategory, TrainedNumber, counts_between
from penstock_serving.skew.windows import UNKNOWN
from penstock_trainer.statistics import CategoryStatistics, ColumnStatistics, NumberStatistics

BARS = 24
TOP_SHOWN = 8
REASONS = {"missing": "is missing", "type": "is of another type", "value": "has a value that does not fit"}
NAMED_FROM_ROWS = 10
"""An unseen category that fewer rows have is not named: it may be one person's."""


def sentence(name: str, comparison: ColumnComparison, found: ColumnStatistics, moved: Mapping[str, Measure]) -> str:
    """What moved in one column, all in one sentence without its end; `moved` is not empty."""
    parts: list[str] = []
    if "missing" in moved:
        before, after = _missing(comparison.trained.column), _missing(found)
        parts.append(f"`{name}` is missing in {_share(after)} of the rows, in training in {_share(before)}")
    if isinstance(found, NumberStatistics):
        parts += _of_numbers(name, moved)
    else:
        assert isinstance(found, CategoryStatistics)
        parts += _of_categories(name, comparison, found, moved)
    if not parts:  # the shape alone: neither mean nor variance tells
        psi = moved.get("psi") or moved["jensen_shannon"]
        kind = "PSI" if "psi" in moved else "Jensen-Shannon distance"
        parts.append(
            f"the distribution of `{name}` moved ({kind} {psi.value:.2f}, by chance up to {psi.threshold:.2f})"
        )
    return " and ".join(parts)


def refused(name: str, share: Measure, reasons: Mapping[str, int]) -> str:
    """Rows that get no answer for a column, and why, the most frequent reason first."""
    most = sorted(reasons, key=lambda reason: -reasons[reason])
    if name == UNKNOWN:
        return f"{_share(share.value)} of the rows are refused for a column that the model does not have"
    why = " or ".join(REASONS[reason] for reason in most if reason in REASONS)
    return f"{_share(share.value)} of the rows are refused for `{name}`, which {why or 'does not fit'}"


def _of_numbers(name: str, moved: Mapping[str, Measure]) -> list[str]:
    parts: list[str] = []
    if "mean_shift" in moved:
        parts.append(f"mean of `{name}` moved by {moved['mean_shift'].value:+.1f} standard deviations")
    if "variance_ratio" in moved:
        whose = "its variance" if parts else f"variance of `{name}`"
        parts.append(f"{whose} {_factor(moved['variance_ratio'])}")
    return parts


def _of_categories(
    name: str, comparison: ColumnComparison, found: CategoryStatistics, moved: Mapping[str, Measure]
) -> list[str]:
    trained = comparison.trained
    assert isinstance(trained, TrainedCategory)
    parts: list[str] = []
    if "unseen" in moved:
        often = [(w, n) for w, n in found.categories.most_common(200) if w not in trained.words]
        named = ", ".join(f'"{word}"' for word, count in often[:3] if count >= NAMED_FROM_ROWS)
        share = _share(moved["unseen"].value)
        parts.append(
            f"`{name}` has categories that training never had in {share} of the rows{f' ({named})' * bool(named)}"
        )
    if "l_infinity" in moved:
        word, change = largest_move(trained, found)
        after = found.categories[word] / found.count
        if word in trained.words:
            went = "rose" if change > 0 else "fell"
            parts.append(f'share of "{word}" in `{name}` {went} from {_share(after - change)} to {_share(after)}')
    return parts


def _factor(ratio: Measure) -> str:
    if ratio.value <= 0:
        return "fell to 0"
    return f"grew {ratio.value:.1f}x" if ratio.value > 1 else f"fell to {ratio.value:.2g} of what it was"


def _share(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 9.95 or percent == 0 else f"{percent:.2g} %"


def _missing(column: ColumnStatistics) -> float:
    rows = column.count + column.missing
    return column.missing / rows if rows else 0.0


def since(seconds: float) -> str:
    """The time of day in UTC; with the date where it is not today's."""
    then, today = time.gmtime(seconds), time.gmtime()
    same_day = then[:3] == today[:3]
    return time.strftime("%H:%M UTC" if same_day else "%H:%M UTC on %Y-%m-%d", then)


def iso(seconds: float) -> str:
    """A moment as ISO 8601 writes it, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def measures(found: Mapping[str, Measure]) -> dict[str, Any]:
    """Value, threshold and verdict of each."""
    return {
        name: {
            "value": _rounded(measure.value),
            "threshold": _rounded(measure.threshold),
            "exceeded": measure.exceeded,
            **({"factor": True} if isinstance(measure, VarianceRatio) else {}),
        }
        for name, measure in found.items()
    }


def distributions(comparison: ColumnComparison, found: ColumnStatistics | None) -> dict[str, Any]:
    """Both sides' shares over the same cells, for a picture; `serving` is null before anything has arrived."""
    trained = comparison.trained
    if isinstance(trained, TrainedNumber):
        edges = _bars(trained.column)
        sides = [trained.column, found if isinstance(found, NumberStatistics) else None]
        counts = [None if side is None else counts_between(side, edges) for side in sides]
        cells: dict[str, Any] = {"edges": edges}
    else:
        words = trained.top[:TOP_SHOWN]
        width = len(words)
        sides = [trained.column, found if isinstance(found, CategoryStatistics) else None]
        whole = [None if side is None else trained.cells(side) for side in sides]
        counts = [None if w is None else np.array([*w[:width], w[width:-1].sum(), w[-1]]) for w in whole]
        cells = {"words": [*words, "other", "unseen in training"]}
    return cells | {
        "training": _side(trained.column, counts[0]),
        "serving": None if found is None or counts[1] is None else _side(found, counts[1]),
    }


def _side(column: ColumnStatistics, counts: np.ndarray | None) -> dict[str, Any]:
    assert counts is not None
    side: dict[str, Any] = {
        "rows": column.count + column.missing,
        "missing": _rounded(_missing(column)),
        "shares": [_rounded(float(count) / max(1, column.count)) for count in counts],
    }
    if isinstance(column, NumberStatistics):
        side |= {"mean": _rounded(column.mean), "deviation": _rounded(column.variance**0.5)}
    return side


def _bars(column: NumberStatistics) -> list[float]:
    """Equally wide bars over the middle 99 % of the training values; what lies outside is in the first and the last."""
    if not column.count:
        return []
    low, high = column.quantiles.get_quantiles([0.005, 0.995])
    return sorted({float(edge) for edge in np.linspace(low, high, BARS - 1).astype(np.float32)})


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
