"""A sealed dataset, opened for tuning, training and export."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from penstock_trainer import statistics
from penstock_trainer.artifacts import Manifest, verify
from penstock_trainer.errors import InputError
from penstock_trainer.examples import Examples
from penstock_trainer.features import Crossed, parts
from penstock_trainer.problem import Problem, suggestion
from penstock_trainer.statistics import Statistics, read_statistics


@dataclass(frozen=True)
class Dataset:
    """A sealed dataset, opened: its manifest, the index of its blocks, and the training rows' statistics."""

    path: Path
    manifest: Manifest
    examples: Examples
    statistics: Statistics

    @classmethod
    def open(cls, path: Path, problem: Problem) -> "Dataset":
        """Verify the dataset's seal and check that it can train `problem`.

        Raises:
            InputError: the seal does not hold, the dataset lacks a column of the problem's features, or a split is
            empty.
        """
        manifest = verify(path)
        if manifest.kind != "dataset":
            raise InputError(f"{path} is a {manifest.kind}, not a dataset")
        examples = Examples.read(path)
        for split, blocks in examples.blocks.items():
            if not blocks:
                raise InputError(
                    f"{path}: no row is in the {split} split; move the split's dates in problem {problem.name!r}"
                )
        found = read_statistics(path)["training"]
        for column in (*examples.numbers, *examples.categories, *examples.cells):
            if column not in found:
                raise InputError(f"{path}: its statistics lack column {column!r}")
        held = {*examples.numbers, *examples.categories, *examples.cells}
        for column, by in _needed(problem):
            if column not in (found if by == "the label" else held):
                raise InputError(
                    f"{path} has no column {column!r}, which {by} of problem {problem.name!r} needs; preprocess the "
                    f"raw files with this problem{suggestion(column, held)}"
                )
        label = found[problem.label.name]
        if isinstance(label, statistics.NumberStatistics) and label.min == label.max:
            raise InputError(
                f"label {problem.label.name!r} is {label.min} in all {label.count:,} training rows: "
                "there is nothing to learn"
            )
        return cls(path, manifest, examples, found)

    def split_statistics(self, split: str) -> Statistics:
        """The statistics of another split's rows."""
        return read_statistics(self.path)[split]


def _needed(problem: Problem) -> Iterator[tuple[str, str]]:
    """(column, what reads it) of all that is learned from and told of."""
    yield problem.label.name, "the label"
    for feature in problem.features:
        yield from (
            (part.column, f"feature {feature.name}") for part in parts(feature) if not isinstance(part, Crossed)
        )
    yield from ((name, "`slices`") for name in problem.slices)
