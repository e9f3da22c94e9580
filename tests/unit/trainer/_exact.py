"""Metrics from all labels and predictions at once, for what tallies them block by block."""

import numpy as np

from penstock_trainer.metrics import area_under_roc


def binary(labels, predictions):
    labels, predictions = labels.astype(np.float64), predictions.astype(np.float64)
    clipped = np.clip(predictions, 1e-7, 1 - 1e-7)
    return {
        "auc": area_under_roc(labels, predictions),
        "log_loss": float(-(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)).mean()),
        "accuracy": float(((predictions >= 0.5) == (labels >= 0.5)).mean()),
        "base_rate": float(labels.mean()),
    }
