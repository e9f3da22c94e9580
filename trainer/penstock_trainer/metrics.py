"""Evaluation metrics: which each head has, and which of them tuning looks at. numpy only."""

from typing import Literal

import numpy as np

NAMES = {
    "binary": ("auc", "log_loss", "accuracy", "base_rate"),
    "multiclass": ("log_loss", "accuracy", "base_rate"),
    "regression": ("rmse", "mae", "r2"),
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
