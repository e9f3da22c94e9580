"""The model card: how good the model is, for whom, and where it comes from, as one page for people."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from penstock_trainer.artifacts import Manifest
from penstock_trainer.blocks import MAPPED, mapped
from penstock_trainer.charts import Series, plot
from penstock_trainer.dataset import Dataset
from penstock_trainer.evaluation import evaluate
from penstock_trainer.network import Network
from penstock_trainer.pages import Share, document, number, section, table
from penstock_trainer.problem import Problem
from penstock_trainer.ranges import Hyperparameters, resolve

MEANING = {
    "auc": "share of (positive, negative) pairs in the right order",
    "auc_within": "by how much that may be off: it is counted in bins of the score",
    "log_loss": "mean cross-entropy, natural logarithm",
    "brier_score": "mean squared error of the probability",
    "accuracy": "share of rows on the right side of 0.5",
    "base_rate": "share of positive rows",
    "calibration_error": "expected: mean distance of predicted from seen shares, over ten equal bins",
    "rmse": "root of the mean squared error, in the label's unit",
    "mae": "mean absolute error, in the label's unit",
    "r2": "share of the label's variance that is explained",
    "mean_error": "prediction less label: its bias",
}
OF_CLASSES = {
    "accuracy": "share of rows whose likeliest class is theirs",
    "mean_recall": "that share within each class, averaged over the classes",
    "base_rate": "share of the commonest class",
    "calibration_error": "expected: mean distance of the likeliest class's probability from how often it is right",
}
SLICED = {
    "binary": ["rows", "auc", "log_loss", "base_rate", "mean_prediction", "calibration_error"],
    "multiclass": ["rows", "accuracy", "mean_recall", "log_loss", "base_rate", "calibration_error"],
    "regression": ["rows", "rmse", "mae", "r2", "mean_error"],
}
CONFUSION = ["is \\ called", "negative", "positive"]


def write(
    problem: Problem,
    dataset: Dataset,
    network: Network,
    hyperparameters: Hyperparameters,
    directory: Path,
) -> None:
    """Measure `network` on every evaluation row; write `evaluation.json` and `card.html` into the artifact's directory,
    whose `lineage/` is there already.
    """
    predict = tf.function(network.predict_block, autograph=network.autograph, input_signature=[MAPPED])

    def answer(path: Path) -> tuple[np.ndarray, np.ndarray]:
        labels, predictions = predict(mapped(path))
        return labels.numpy(), predictions.numpy()

    found = evaluate(problem, dataset, answer)
    (directory / "evaluation.json").write_text(json.dumps(found, indent=1))
    chosen = {name: resolve(range_, name, hyperparameters) for name, range_ in problem.search_space().items()}
    lineage = {path.stem: Manifest.read_file(path) for path in sorted((directory / "lineage").glob("*.json"))}
    (directory / "card.html").write_text(page(problem, found, chosen, lineage))


def page(problem: Problem, found: Mapping[str, Any], chosen: Mapping[str, Any], lineage: Mapping[str, Manifest]) -> str:
    """The whole page, from the content of `evaluation.json`."""
    label = problem.label
    body = section("How good it is", _figures(found, label.head))
    draw = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[label.head]
    body += "".join(f"<h2>On {split} rows</h2>{draw(each['plots'])}" for split, each in found.items())
    for column in problem.slices:
        body += section(f"By {column}, test rows", _slices(found["test"]["slices"][column], label.head))
    body += section(
        "Hyperparameters",
        table((name, number(value) if isinstance(value, float) else str(value)) for name, value in chosen.items()),
    )
    body += section("Where it comes from", table(_origin(lineage), ["artifact", "digest", "rows", "files"]))
    return document(f"{problem.name}: model", f"Predicts {label.name} ({label.head}).", body)


def _figures(found: Mapping[str, Any], head: str) -> str:
    names = next(iter(found.values()))["metrics"]
    meaning = MEANING | (OF_CLASSES if head == "multiclass" else {})
    rows = [(name, *(each["metrics"][name] for each in found.values()), meaning.get(name, "")) for name in names]
    return table(rows, ["", *found, ""])


def _binary(plots: Mapping[str, Any]) -> str:
    calibration = _calibration(plots["calibration"], "share_positive", "share of positive rows")
    histogram = "".join(
        section(f"Scores of {name} rows", _histogram(rows, 0.0, 1.0, "predicted probability"))
        for name, rows in plots["scores"].items()
    )
    confusion = "".join(
        section(
            f"Called positive from {each['threshold']:g} on",
            table(
                [
                    ("negative", each["true_negative"], each["false_positive"]),
                    ("positive", each["false_negative"], each["true_positive"]),
                ],
                CONFUSION,
            ),
        )
        for each in plots["confusion"]
    )
    return f"<div class=columns>{calibration}{histogram}{confusion}</div>"


def _multiclass(plots: Mapping[str, Any]) -> str:
    classes, confusion = plots["classes"], plots["confusion"]
    sums = [(sum(row), sum(column)) for row, column in zip(confusion, zip(*confusion, strict=True), strict=True)]
    rows = [
        (name, *confusion[i], confusion[i][i] / max(1, sums[i][0]), confusion[i][i] / max(1, sums[i][1]))
        for i, name in enumerate(classes)
    ]
    calibration = _calibration(plots["calibration"], "share_right", "share of rows where it is right")
    counted = table(rows, ["is \\ called", *classes, "recall", "precision"])
    return section("Rows by their class and by the likeliest", counted) + f"<div class=columns>{calibration}</div>"


def _calibration(bins: Sequence[Mapping[str, Any]], seen: str, named: str) -> str:
    bins = [each for each in bins if each["rows"]]
    points = [(each["mean_prediction"], each[seen]) for each in bins]
    titles = [f"{each['rows']:,} rows" for each in bins]
    ideal = Series([(0, 0), (1, 1)], "line", "faint")
    return section(
        "Calibration", plot([ideal, Series(points, "line"), Series(points, titles=titles)], "predicted", named)
    )


def _regression(plots: Mapping[str, Any]) -> str:
    residuals = plots["residuals"]
    bars = _histogram(
        residuals["rows"], residuals["from"], residuals["to"], "prediction less label; ends take what is beyond"
    )
    means = [(each["mean_prediction"], each["mean_label"]) for each in plots["by_prediction"] if each["rows"]]
    ends = [min(min(pair) for pair in means), max(max(pair) for pair in means)] if means else [0.0, 1.0]
    ideal = Series([(end, end) for end in ends], "line", "faint")
    drawn = plot([ideal, Series(means, "line"), Series(means)], "mean prediction", "mean label")
    return f"<div class=columns>{section('Residuals', bars)}{section('Predicted and seen', drawn)}</div>"


def _histogram(rows: list[int], low: float, high: float, x: str) -> str:
    width = (high - low) / len(rows)
    points = [(low + (place + 0.5) * width, float(count)) for place, count in enumerate(rows)]
    titles = [f"{count:,} rows" for count in rows]
    return plot([Series(points, "bars", titles=titles)], x, "rows")


def _slices(slices: Mapping[str, Mapping[str, Any]], head: str) -> str:
    header = SLICED[head]
    most = max((each["rows"] for each in slices.values()), default=1)
    rows = [(name, *(each[key] for key in header), Share(each["rows"] / most)) for name, each in slices.items()]
    return table(rows, ["", *(key.replace("_", " ") for key in header), ""])


def _origin(lineage: Mapping[str, Manifest]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = [
        (kind, manifest.digest, manifest.counts.get("rows"), len(manifest.files)) for kind, manifest in lineage.items()
    ]
    if raw := lineage.get("raw"):
        rows += [(path, digest, None, None) for path, digest in sorted(raw.files.items())]
    return rows
