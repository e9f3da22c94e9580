"""Plots as SVG inside a page: points, lines and bars over two axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from penstock_trainer.pages import number, text

WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 10, 38
TICKS = 5


@dataclass(frozen=True)
class Series:
    """Points (x, y) drawn as `dots`, a `line` or `bars` from 0; `titles`, one a point, show when pointed at."""

    points: Sequence[tuple[float, float]]
    drawn: Literal["dots", "line", "bars"] = "dots"
    look: Literal["", "faint", "best"] = ""
    titles: Sequence[str] = ()


def plot(series: Sequence[Series], x: str, y: str, *, log: bool = False, names: Sequence[str] = ()) -> str:
    """One plot. `x` and `y` say what the axes are; `log`: x by order of magnitude; `names`: x is a place in this list.

    Values that are not finite are left out.
    """
    xs = [a for each in series for a, b in each.points if math.isfinite(a) and math.isfinite(b)]
    ys = [b for each in series for a, b in each.points if math.isfinite(a) and math.isfinite(b)]
    if not xs:
        return "<p class=soft>nothing to draw</p>"
    if any(each.drawn == "bars" for each in series):
        ys.append(0.0)
    if names:
        xs = [-0.5, len(names) - 0.5]
    across = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, log)
    up = _Axis(min(ys), max(ys), HEIGHT - BOTTOM, TOP, False)
    drawn = "".join(_draw(each, across, up) for each in series)
    y_ticks = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(v):.1f}" y2="{up(v):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{up(v) + 4:.1f}" text-anchor="end">{number(v)}</text>'
        for v in up.ticks()
    )
    labels = list(enumerate(names)) if names else [(v, number(v)) for v in across.ticks()]
    x_ticks = "".join(
        f'<text x="{across(place):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{text(str(name)[:14])}</text>'
        for place, name in labels
    )
    x_name = f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{text(x)}</text>'
    return (
        f'<svg class=plot viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(y)} by {text(x)}">'
        f"{y_ticks}{x_ticks}{drawn}{x_name}"
        f'<text transform="translate(12 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{text(y)}</text></svg>'
    )


class _Axis:
    """From values to pixels."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool):
        self.log = log and low > 0
        self.low, self.high = (math.log10(low), math.log10(high)) if self.log else (low, high)
        if self.low == self.high:
            self.low, self.high = self.low - 0.5, self.high + 0.5
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        place = ((math.log10(value) if self.log else value) - self.low) / (self.high - self.low)
        return self.start + place * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values along the axis."""
        if self.log:
            places = [self.low + (self.high - self.low) * i / (TICKS - 1) for i in range(TICKS)]
            return [float(f"{10**place:.1g}") for place in places[1:-1]] or [10**self.low]
        raw = (self.high - self.low) / TICKS
        size = 10 ** math.floor(math.log10(raw))
        step = next(size * each for each in (1, 2, 5, 10) if size * each >= raw)
        first = math.ceil(self.low / step - 1e-9)
        return [each * step for each in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _draw(series: Series, across: _Axis, up: _Axis) -> str:
    titles = [*series.titles, *[""] * len(series.points)]
    places = [
        (across(x), up(y), title)
        for (x, y), title in zip(series.points, titles, strict=False)
        if math.isfinite(x) and math.isfinite(y) and (x > 0 or not across.log)
    ]
    look = f' class="{series.look}"' if series.look else ""
    if series.drawn == "line":
        return f'<polyline{look} points="{" ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)}"/>'
    if series.drawn == "bars":
        width = 0.85 * (across.end - across.start) / max(1, len(places))
        return "".join(
            f'<rect{look} x="{x - width / 2:.1f}" y="{min(y, up(0)):.1f}" width="{width:.1f}" '
            f'height="{abs(up(0) - y):.1f}">{_title(title)}</rect>'
            for x, y, title in places
        )
    radius = 5 if series.look == "best" else 3
    return "".join(f'<circle{look} cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{_title(t)}</circle>' for x, y, t in places)


def _title(said: str) -> str:
    return f"<title>{text(said)}</title>" if said else ""
