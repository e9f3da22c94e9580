"""What the pages for people have in common: self-contained HTML, light and dark, no script, nothing fetched."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

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
svg.plot { height: auto; font: 11px system-ui, sans-serif; } svg.plot text { fill: var(--soft); }
svg.plot line { stroke: var(--line); } svg.plot polyline { fill: none; stroke: var(--bar); stroke-width: 2; }
svg.plot .faint { stroke: var(--soft); opacity: .45; stroke-width: 1; } svg.plot circle { fill: var(--bar); }
svg.plot circle.faint { fill: var(--soft); } svg.plot circle.best { fill: var(--warn); }
span.share { display: block; height: 10px; min-width: 1px; background: var(--bar); border-radius: 2px; }
.wide { overflow-x: auto; } .wide td, .wide th { white-space: nowrap; } td.share { width: 40%; }
.wide tr th:not(:first-child) { text-align: right; }
"""


def document(title: str, subtitle: str, body: str) -> str:
    """A whole page; `body` is HTML, the rest text."""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{text(title)}</title><style>{STYLE}</style>
<h1>{text(title)}</h1><p class=soft>{text(subtitle)}</p>
{body}</html>
"""


def section(title: str, body: str) -> str:
    """A titled box; `body` is HTML."""
    return f"<section><h2>{text(title)}</h2>{body}</section>"


def table(rows: Iterable[Sequence[Any]], header: Sequence[str] = ()) -> str:
    """Rows of cells, the first of which names the row: numbers to the right, text to the left, None as a dash, a
    `Share` as a bar.
    """
    head = "".join(f"<th>{text(name)}</th>" for name in header)
    body = "".join(f"<tr><th>{text(str(name))}</th>{''.join(map(_cell, cells))}</tr>" for name, *cells in rows)
    return f"<div class=wide><table>{f'<tr>{head}</tr>' if head else ''}{body}</table></div>"


class Share(float):
    """A number from 0 to 1 that a table shows as a bar."""


def number(value: float) -> str:
    """Four digits, and the exponent where it is large."""
    return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:.3e}"


def text(value: str) -> str:
    """Text as HTML."""
    return html.escape(value)


def _cell(value: Any) -> str:
    if isinstance(value, Share):
        return f'<td class=share><span class=share style="width:{100 * value:.1f}%"></span></td>'
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{text('-' if value is None else str(value))}</td>"
    return f"<td class=number>{f'{value:,}' if isinstance(value, int) else number(value)}</td>"
