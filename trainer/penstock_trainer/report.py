"""A dataset's statistics as one page for people: self-contained HTML, light and dark, no script."""

from collections.abc import Mapping, Sequence

import numpy as np

from penstock_trainer.distinct import KEPT
from penstock_trainer.findings import findings
from penstock_trainer.pages import document, number, text
from penstock_trainer.problem import Problem
from penstock_trainer.statistics import (
    OF_CLASS,
    CategoryStatistics,
    ColumnStatistics,
    GroupMeans,
    NumberStatistics,
    Statistics,
    TextStatistics,
)

BARS = 32
TOP = 8


def page(problem: Problem, found: Mapping[str, Statistics], counts: Mapping[str, int]) -> str:
    """The whole page: where the rows went, what looks wrong, and a card a column, of the training rows."""
    wrong = list(findings(problem, found))
    said = "".join(f"<li><b>{text(name)}</b> {text(what)}</li>" for name, what in wrong)
    where = "".join(
        f"<tr><th>{text(name.replace('_', ' '))}</th><td class=number>{count:,}</td>"
        f"<td class=number>{count / max(1, counts['rows']):.1%}</td></tr>"
        for name, count in counts.items()
    )
    cards = "".join(
        _card(name, column, bool([w for n, w in wrong if n == name]), _by_label(problem, found, name))
        for name, column in found["training"].items()
    )
    body = f"""<section><h2>Rows</h2><table>{where}</table></section>
<section><h2>What looks wrong</h2>{f"<ul class=warn>{said}</ul>" if said else "<p>Nothing.</p>"}</section>
<div class=columns>{cards}</div>"""
    return document(f"{problem.name}: dataset", "The dataset, by the statistics of its training rows.", body)


def _by_label(problem: Problem, found: Mapping[str, Statistics], name: str) -> str:
    """What the column has to do with the label: its mean in each class, or the label's mean in its categories."""
    if name in found.get("positive", {}):
        return _by_binary_label(found["training"][name], found["positive"][name], name == problem.label.name)
    classes = [(class_, found.get(f"{OF_CLASS}{place}", {})) for place, class_ in enumerate(problem.label.classes)]
    if name == problem.label.name:
        shares = [
            (class_, each[name].count / max(1, found["training"][name].count)) for class_, each in classes if each
        ]
        return _lines("share of the rows", [(class_, f"{share:.1%}") for class_, share in shares])
    means = [(class_, each[name]) for class_, each in classes if name in each]
    of_class = [(class_, number(c.mean)) for class_, c in means if isinstance(c, NumberStatistics) and c.count]
    together = found.get("with_label", {}).get(name)
    if isinstance(together, GroupMeans):
        ranked = sorted(together.groups.items(), key=lambda group: (-group[1][0], group[0]))
        return _lines("mean of the label", [(word[:40], number(mean)) for word, (_, mean, _) in ranked[:TOP]])
    return _lines("mean in the class", of_class[:TOP])


def _by_binary_label(every: ColumnStatistics, positive: ColumnStatistics, is_label: bool) -> str:
    """The same of a label of 0 and 1, from the training rows' statistics and from those of its `positive` ones."""
    if isinstance(every, NumberStatistics) and isinstance(positive, NumberStatistics):
        ones, zeros = positive.count, every.count - positive.count
        if is_label:
            shares = [("0", zeros / max(1, every.count)), ("1", ones / max(1, every.count))]
            return _lines("share of the rows", [(label, f"{share:.1%}") for label, share in shares])
        means = [("0", (every.count * every.mean - ones * positive.mean) / zeros)] if zeros else []
        means += [("1", positive.mean)] if ones else []
        return _lines("mean where the label is", [(label, number(mean)) for label, mean in means])
    # Once categories were let go, the two no longer count the same rows of a category.
    if isinstance(every, CategoryStatistics) and isinstance(positive, CategoryStatistics) and not every.pruned:
        shares = [(word[:40], positive.categories[word] / every.categories[word]) for word in every.ranked()[:TOP]]
        return _lines("share of label 1", [(word, f"{share:.1%}") for word, share in shares])
    return ""


def _lines(title: str, lines: Sequence[tuple[str, str]]) -> str:
    said = "".join(f"<tr><td>{text(name)}</td><td class=number>{value}</td></tr>" for name, value in lines)
    return f"<p class=soft>{title}</p><table>{said}</table>" if said else ""


def _card(name: str, column: ColumnStatistics, warn: bool, by_label: str) -> str:
    rows = max(1, column.count + column.missing)
    missing = f"{column.missing / rows:.1%} missing" if column.missing else "none missing"
    if isinstance(column, NumberStatistics):
        body = _histogram(column)
    else:
        body = _top(column.tokens, "tokens") if isinstance(column, TextStatistics) else _top(column, "categories")
    title = f"<h2{' class=warn' if warn else ''}>{text(name)}</h2>"
    return f"<section>{title}<p class=soft>{missing}</p>{body}{by_label}</section>"


def _histogram(column: NumberStatistics) -> str:
    """Equally wide bars from minimum to maximum, from the sketch."""
    if not column.count or column.min is None or column.max is None:
        return "<p>no values</p>"
    facts = f"mean {number(column.mean)}, deviation {number(column.variance**0.5)}"
    if column.distinct is not None:
        facts += f", {'about ' * (column.distinct >= KEPT)}{column.distinct:,} different values"
    if column.min == column.max:
        return f"<p>always {number(column.min)}</p>"
    edges = np.unique(np.linspace(column.min, column.max, BARS + 1)[1:-1].astype(np.float32))
    shares = np.maximum(np.diff([0.0, *column.quantiles.get_cdf(edges.tolist())]), 0)
    heights = 80 * shares / shares.max()
    bars = "".join(
        f'<rect x="{10 * place}" y="{84 - height:.1f}" width="9" height="{height:.1f}">'
        f"<title>{share:.1%}</title></rect>"
        for place, (height, share) in enumerate(zip(heights, shares, strict=True))
    )
    picture = f'<svg viewBox="0 0 {10 * BARS} 84" preserveAspectRatio="none" role="img">{bars}</svg>'
    return f"<p>{facts}</p>{picture}<p class=soft>{number(column.min)} to {number(column.max)}</p>"


def _top(column: CategoryStatistics, what: str) -> str:
    shown = column.ranked()[:TOP]
    lines = "".join(
        f"<tr><td>{text(word[:40])}</td><td class=number>{column.categories[word] / column.count:.1%}</td></tr>"
        for word in shown
    )
    if column.pruned:
        lines += f"<tr><td class=soft colspan=2>counts may be up to {column.undercount:,} rows too low</td></tr>"
    return f"<p>{column.distinct:,} {what}</p><table>{lines}</table>"
