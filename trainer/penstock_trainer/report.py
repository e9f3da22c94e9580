"""A dataset's statistics as one page for people: self-contained HTML, light and dark, no script."""

import html
from collections.abc import Mapping

import numpy as np

from penstock_trainer.findings import findings
from penstock_trainer.problem import Problem
from penstock_trainer.statistics import CategoryStatistics, ColumnStatistics, NumberStatistics, Statistics

BARS = 32
TOP = 8
STYLE = """
:root { color-scheme: light dark; --ink: #17212b; --soft: #5b6770; --line: #dde2e6; --bar: #0b6a8f; --page: #f5f7f9;
  --card: #fff; --warn: #9a3b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8edf1; --soft: #9aa7b1; --line: #34404a; --bar: #58b4d8;
  --page: #12181d; --card: #1b242b; --warn: #ffb37a; } }
body { margin: 0 auto; max-width: 1080px; padding: 24px; font: 15px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--page); }
h1 { margin: 0 0 4px; font-size: 26px; } h2 { font-size: 16px; margin: 0 0 6px; overflow-wrap: anywhere; }
p, td, th { margin: 0; } .soft, th { color: var(--soft); font-weight: normal; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 16px; margin: 16px 0; }
.columns { display: grid; grid-template-columns: repeat(auto-fill, minmax(310px, 1fr)); gap: 16px; }
.columns section { margin: 0; } .warn { color: var(--warn); } li { margin: 4px 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; } td, th { text-align: left;
  padding: 1px 8px 1px 0; } td.number, th.number { text-align: right; }
svg { display: block; width: 100%; height: 84px; } rect { fill: var(--bar); }
"""


def page(problem: Problem, found: Mapping[str, Statistics], counts: Mapping[str, int]) -> str:
    """The whole page: where the rows went, what looks wrong, and a card a column, of the training rows."""
    wrong = list(findings(problem, found))
    said = "".join(f"<li><b>{_text(name)}</b> {_text(what)}</li>" for name, what in wrong)
    where = "".join(
        f"<tr><th>{_text(name.replace('_', ' '))}</th><td class=number>{count:,}</td>"
        f"<td class=number>{count / max(1, counts['rows']):.1%}</td></tr>"
        for name, count in counts.items()
    )
    cards = "".join(
        _card(name, column, bool([w for n, w in wrong if n == name])) for name, column in found["training"].items()
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{_text(problem.name)}: dataset</title><style>{STYLE}</style>
<h1>{_text(problem.name)}</h1><p class=soft>The dataset, by the statistics of its training rows.</p>
<section><h2>Rows</h2><table>{where}</table></section>
<section><h2>What looks wrong</h2>{f"<ul class=warn>{said}</ul>" if said else "<p>Nothing.</p>"}</section>
<div class=columns>{cards}</div></html>
"""


def _card(name: str, column: ColumnStatistics, warn: bool) -> str:
    rows = max(1, column.count + column.missing)
    missing = f"{column.missing / rows:.1%} missing" if column.missing else "none missing"
    body = _histogram(column) if isinstance(column, NumberStatistics) else _top(column)
    title = f"<h2{' class=warn' if warn else ''}>{_text(name)}</h2>"
    return f"<section>{title}<p class=soft>{missing}</p>{body}</section>"


def _histogram(column: NumberStatistics) -> str:
    """Equally wide bars from minimum to maximum, from the sketch."""
    if not column.count or column.min is None or column.max is None:
        return "<p>no values</p>"
    facts = f"mean {_number(column.mean)}, deviation {_number(column.variance**0.5)}"
    if column.min == column.max:
        return f"<p>always {_number(column.min)}</p>"
    edges = np.unique(np.linspace(column.min, column.max, BARS + 1)[1:-1].astype(np.float32))
    shares = np.maximum(np.diff([0.0, *column.quantiles.get_cdf(edges.tolist())]), 0)
    heights = 80 * shares / shares.max()
    bars = "".join(
        f'<rect x="{10 * place}" y="{84 - height:.1f}" width="9" height="{height:.1f}">'
        f"<title>{share:.1%}</title></rect>"
        for place, (height, share) in enumerate(zip(heights, shares, strict=True))
    )
    picture = f'<svg viewBox="0 0 {10 * BARS} 84" preserveAspectRatio="none" role="img">{bars}</svg>'
    return f"<p>{facts}</p>{picture}<p class=soft>{_number(column.min)} to {_number(column.max)}</p>"


def _top(column: CategoryStatistics) -> str:
    shown = column.ranked()[:TOP]
    lines = "".join(
        f"<tr><td>{_text(word[:40])}</td><td class=number>{column.categories[word] / column.count:.1%}</td></tr>"
        for word in shown
    )
    if column.pruned:
        lines += f"<tr><td class=soft colspan=2>counts may be up to {column.undercount:,} rows too low</td></tr>"
    return f"<p>{column.distinct:,} categories</p><table>{lines}</table>"


def _number(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:.3e}"


def _text(value: str) -> str:
    return html.escape(value)
