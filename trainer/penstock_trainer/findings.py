"""What looks wrong in a dataset, found from its statistics alone and said in words."""

from collections.abc import Iterator, Mapping

import numpy as np

from penstock_trainer.features import Scaled
from penstock_trainer.problem import Integer, Problem
from penstock_trainer.statistics import (
    OF_CLASS,
    CategoryStatistics,
    ColumnStatistics,
    Comoment,
    GroupMeans,
    NumberStatistics,
    Statistics,
    TextStatistics,
)

MOSTLY_MISSING = 0.5
MISSING_MOVED = 0.1
UNSEEN_SHARE = 0.01
UNSEEN_TOKENS = 0.2
GIVES_AWAY = 0.9
FEW, OF_MANY = 10, 1000  # different values of a column, of at least so many
ALL_DIFFERENT = 0.9  # of the values; the count of the different ones may be off by some per cent
CORRELATES = 0.98


def findings(problem: Problem, found: Mapping[str, Statistics]) -> Iterator[tuple[str, str]]:
    """(column, what looks wrong with it)."""
    training = found["training"]
    for name, column in training.items():
        rows = column.count + column.missing
        if name == problem.label.name or not rows:
            continue
        if _is_constant(column):
            yield name, "has one value in all training rows: it tells the model nothing"
        if isinstance(column, NumberStatistics):
            yield from ((name, what) for what in _of_few_or_all(problem, name, column))
        if column.missing > MOSTLY_MISSING * rows:
            yield name, f"is missing in {column.missing / rows:.0%} of the training rows"
        for split in ("validation", "test"):
            if split in found:
                yield from ((name, what) for what in _moved(column, found[split][name], split))
        if "positive" in found and (distance := separation(found["positive"][name], column)) > GIVES_AWAY:
            yield (
                name,
                f"tells the label almost by itself: its distributions for the two labels are {distance:.2f} apart, "
                "of 1; is it known before the moment of prediction?",
            )
        distance, told = max(_of_classes(problem, found, name), default=(0.0, ""))
        if distance > GIVES_AWAY:
            yield (
                name,
                f"tells class {told!r} almost by itself: its distributions for it and for the others are "
                f"{distance:.2f} apart, of 1; is it known before the moment of prediction?",
            )
    for name, together in found.get("with_label", {}).items():
        assert isinstance(together, Comoment | GroupMeans)
        if abs(together.correlation) > CORRELATES:
            yield (
                name,
                f"tells the label almost by itself: their correlation is {together.correlation:.3f}; is it known "
                "before the moment of prediction?",
            )


def _of_classes(problem: Problem, found: Mapping[str, Statistics], name: str) -> Iterator[tuple[float, str]]:
    """(how far apart a column's values are within and without the class, the class) of each class that tells."""
    for place, class_ in enumerate(problem.label.classes):
        column = found.get(f"{OF_CLASS}{place}", {}).get(name)
        # Of a class with more categories than are kept, the rarest would seem to be the others'.
        if column is not None and not (isinstance(column, CategoryStatistics) and column.pruned):
            yield separation(column, found["training"][name]), class_


def separation(positive: ColumnStatistics, every: ColumnStatistics) -> float:
    """How far apart a column's values are for label 1 and for label 0, from 0 (alike) to 1 (no value in common).

    Numbers: the Kolmogorov-Smirnov distance of the sketches; categories: half the sum of the absolute differences of
    their shares. The rows of label 0 are all rows without those of label 1.
    """
    if isinstance(every, NumberStatistics):
        assert isinstance(positive, NumberStatistics)
        if not 0 < positive.count < every.count:
            return 0.0
        points = sorted(set(every.quantiles.get_quantiles(np.linspace(0, 1, 201).tolist())))
        share = positive.count / every.count
        apart = np.abs(np.subtract(positive.quantiles.get_cdf(points), every.quantiles.get_cdf(points))).max()
        return float(min(1.0, apart / (1 - share)))
    if isinstance(every, TextStatistics):
        return 0.0  # the shares of tokens do not add up to those of rows
    assert isinstance(positive, CategoryStatistics)
    negative = every.count - positive.count
    if not positive.count or not negative:
        return 0.0
    differences = (
        abs(positive.categories[word] / positive.count - (count - positive.categories[word]) / negative)
        for word, count in every.categories.items()
    )
    return sum(differences) / 2


def unseen_share(training: CategoryStatistics, other: CategoryStatistics) -> float:
    """The share of the other rows' values whose category no training row had."""
    seen = sum(count for word, count in other.categories.items() if word in training.categories)
    return 1 - (seen + other.pruned) / other.count if other.count else 0.0


def _is_constant(column: ColumnStatistics) -> bool:
    if isinstance(column, NumberStatistics):
        return column.count > 0 and column.min == column.max and not column.missing
    if isinstance(column, TextStatistics):
        return column.tokens.count > 0 and column.tokens.distinct == 1 and not column.missing
    return column.distinct == 1 and not column.missing


def _of_few_or_all(problem: Problem, name: str, column: NumberStatistics) -> Iterator[str]:
    """What the number of a numeric column's different values says."""
    found = column.distinct
    if found is None or column.count < OF_MANY:
        return
    declared = {**problem.inputs, **problem.derived}.get(name)
    scaled = any(isinstance(feature, Scaled) and feature.column == name for feature in problem.features)
    if 2 < found <= FEW and scaled:
        yield (
            f"is scaled and has {found} different values only: if they are kinds and no amounts, declare it as a "
            "category, or cut it into buckets"
        )
    if isinstance(declared, Integer) and found > ALL_DIFFERENT * column.count:
        yield "is another whole number in almost every training row, as an id is: it tells nothing of rows to come"


def _moved(training: ColumnStatistics, other: ColumnStatistics, split: str) -> Iterator[str]:
    before = training.missing / max(1, training.count + training.missing)
    after = other.missing / max(1, other.count + other.missing)
    if abs(after - before) > MISSING_MOVED:
        yield f"is missing in {after:.0%} of the {split} rows, in {before:.0%} of the training rows"
    if isinstance(training, TextStatistics) and isinstance(other, TextStatistics):
        share = unseen_share(training.tokens, other.tokens)
        if share > UNSEEN_TOKENS:
            yield f"has {share:.0%} of its tokens in the {split} rows from none of the training rows"
    if isinstance(training, CategoryStatistics) and isinstance(other, CategoryStatistics):
        share = unseen_share(training, other)
        if share > UNSEEN_SHARE:
            yield f"has a category that no training row has in {share:.1%} of the {split} rows"
