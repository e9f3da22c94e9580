"""Evaluation metrics: which each head has, and what they are exactly, from all labels and predictions. numpy only."""

from typing import Literal

import numpy as np

NAMES = {
    "binary": ("auc", "log_loss", "accuracy", "base_rate"),
    "multiclass": ("log_loss", "accuracy", "base_rate"),
    "regression": ("rmse", "mae", "r2"),
}


def evaluate(head: str, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """The head's metrics; `labels` and `predictions` have shape [rows], predictions of several classes [rows, classes].

    binary: `auc` (ties count half), `log_loss` (natural logarithm), `accuracy` (at 0.5), `base_rate`.
    multiclass: `log_loss`, `accuracy` (of the likeliest class), `base_rate` (of the commonest).
    regression: `rmse` and `mae` in the label's unit, `r2`.
    """
    labels, predictions = labels.astype(np.float64), predictions.astype(np.float64)
    if not labels.size:
        return {}
    if head == "regression":
        error = predictions - labels
        spread = float(((labels - labels.mean()) ** 2).sum())
        return {
            "rmse": float(np.sqrt((error**2).mean())),
            "mae": float(np.abs(error).mean()),
            "r2": 1 - float((error**2).sum()) / spread if spread else 0.0,
        }
    clipped = np.clip(predictions, 1e-7, 1 - 1e-7)
    if head == "multiclass":
        places = labels.astype(np.int64)
        return {
            "log_loss": float(-np.log(clipped[np.arange(places.size), places]).mean()),
            "accuracy": float((predictions.argmax(axis=1) == places).mean()),
            "base_rate": float(np.bincount(places).max() / places.size),
        }
    return {
        "auc": area_under_roc(labels, predictions),
        "log_loss": float(-(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)).mean()),
        "accuracy": float(((predictions >= 0.5) == (labels >= 0.5)).mean()),
        "base_rate": float(labels.mean()),
    }


def objective(head: str) -> tuple[str, Literal["maximize", "minimize"]]:
    """What tuning looks at, and whether to `maximize` or `minimize` it."""
    if head == "binary":
        return "auc", "maximize"
    return ("log_loss" if head == "multiclass" else "rmse"), "minimize"


def area_under_roc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The share of (positive, negative) pairs that the scores order rightly; 0.5 where a class is missing."""
    positives = int((labels > 0.5).sum())
    negatives = labels.size - positives
    if not positives or not negatives:
        return 0.5
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # the mean rank of each distinct score
    return float((ranks[inverse][labels > 0.5].sum() - positives * (positives + 1) / 2) / (positives * negatives))
