"""Evaluation in one pass and bounded memory: sums and counts that no number of rows makes grow. numpy only."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from penstock_trainer.statistics import NumberStatistics

FINE, COARSE = 1 << 12, 1 << 7  # bins of an octave of scores: of a whole split, and of a slice
OCTAVES = 29  # from 2 ** -30 to 0.5
CALIBRATION_BINS = 10
SHOWN_BINS = 32


class Tally(Protocol):
    """What rows added up to."""

    rows: int

    def add(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        """Count some more rows: labels of shape [rows] and predictions of shape [rows], or [rows, classes]."""
        ...

    def metrics(self) -> dict[str, float]:
        """The figures of all rows so far, `rows` among them."""
        ...

    def plots(self) -> dict[str, Any]:
        """What plots are drawn from, as JSON."""
        ...


class Ranking:
    """The area under the ROC curve of scores from 0 to 1, from how many rows have about one score.

    A bin's width is a fixed share, one in `parts`, of the distance to the nearer of 0 and 1, so that scores that are
    all small are told apart as well as any. Pairs of rows within one bin count half: `within` is the most that the area
    can be off by.
    """

    def __init__(self, parts: int):
        self._shift = 24 - parts.bit_length()  # of a float32, whose octave has 2 ** 23 values
        self._lowest = self._bits(np.array([0.5 ** (OCTAVES + 1)], np.float32))[0]
        self._half = OCTAVES * parts + 1
        self.counts = np.zeros((2, 2 * self._half), np.int64)  # by label

    def add(self, positive: np.ndarray, scores: np.ndarray) -> None:
        """Count some more rows: `positive` 0 or 1, int64, and float32 `scores`."""
        upper = scores >= 0.5
        near = np.clip(np.where(upper, 1 - scores, scores), 0.0, 0.5)
        place = np.clip((self._bits(near) - self._lowest) >> self._shift, 0, self._half - 1)
        np.add.at(self.counts, (positive, np.where(upper, 2 * self._half - 1 - place, place)), 1)

    def area(self) -> tuple[float, float]:
        """(the area, 0.5 where a class is missing; `within`)."""
        negatives, positives = self.counts.astype(np.float64)
        pairs = negatives.sum() * positives.sum()
        if not pairs:
            return 0.5, 0.0
        within = float((negatives * positives).sum()) / 2
        below = float(((np.cumsum(negatives) - negatives) * positives).sum())
        return (below + within) / pairs, within / pairs

    @staticmethod
    def _bits(values: np.ndarray) -> np.ndarray:
        """Of floats that are not negative, whole numbers in the same order, equally many an octave."""
        return values.astype(np.float32).view(np.int32).astype(np.int64)


class BinaryTally:
    """Of labels 0 or 1 and probabilities. `thresholds` are those that confusion is counted at.

    The area under the ROC curve is that of a `Ranking`: `auc_within` is by how much it may be off. All else is exact.
    """

    def __init__(self, thresholds: Sequence[float] = (), parts: int = COARSE):
        self.rows, self.log_loss, self.squared, self.right = 0, 0.0, 0.0, 0
        self.ranking = Ranking(parts)
        self.scores = np.zeros((2, SHOWN_BINS), np.int64)  # by label
        self.calibration = np.zeros((3, CALIBRATION_BINS))  # rows, sum of predictions, sum of labels
        self.confusion = {threshold: np.zeros((2, 2), np.int64) for threshold in thresholds}  # [label, prediction]

    def add(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        label, wide = (labels > 0.5).astype(np.int64), predictions.astype(np.float64)
        self.rows += label.size
        clipped = np.clip(wide, 1e-7, 1 - 1e-7)
        self.log_loss -= float(np.log(np.where(label, clipped, 1 - clipped)).sum())
        self.squared += float(((wide - label) ** 2).sum())
        self.right += int(((predictions >= 0.5) == label).sum())
        self.ranking.add(label, predictions)
        place = np.minimum((wide * SHOWN_BINS).astype(np.int64), SHOWN_BINS - 1)
        self.scores += np.bincount(label * SHOWN_BINS + place, minlength=2 * SHOWN_BINS).reshape(2, SHOWN_BINS)
        tenth = np.minimum((wide * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
        for row, weights in enumerate((None, wide, label)):
            self.calibration[row] += np.bincount(tenth, weights, CALIBRATION_BINS)
        for threshold, found in self.confusion.items():
            found += np.bincount(2 * label + (predictions >= threshold), minlength=4).reshape(2, 2)

    def metrics(self) -> dict[str, float]:
        auc, within = self.ranking.area()
        rows = max(1, self.rows)
        return {
            "rows": self.rows,
            "auc": auc,
            "auc_within": within,
            "log_loss": self.log_loss / rows,
            "brier_score": self.squared / rows,
            "accuracy": self.right / rows,
            "base_rate": float(self.scores[1].sum()) / rows,
            "mean_prediction": float(self.calibration[1].sum()) / rows,
            "calibration_error": float(np.abs(self.calibration[1] - self.calibration[2]).sum()) / rows,
        }

    def plots(self) -> dict[str, Any]:
        count = np.maximum(self.calibration[0], 1)
        return {
            "calibration": [
                {"rows": int(n), "mean_prediction": float(p), "share_positive": float(y)}
                for n, p, y in zip(
                    self.calibration[0], self.calibration[1] / count, self.calibration[2] / count, strict=True
                )
            ],
            "scores": {"negative": self.scores[0].tolist(), "positive": self.scores[1].tolist()},
            "confusion": [
                {"threshold": threshold}
                | dict(
                    zip(
                        ("true_negative", "false_positive", "false_negative", "true_positive"),
                        map(int, found.flat),
                        strict=True,
                    )
                )
                for threshold, found in self.confusion.items()
            ],
        }


class MulticlassTally:
    """Of labels that are places among `classes`, and a probability for each class; calibration is the likeliest's."""

    def __init__(self, classes: Sequence[str]):
        self.classes = list(classes)
        self.rows, self.log_loss = 0, 0.0
        self.confusion = np.zeros((len(classes), len(classes)), np.int64)  # [label, likeliest]
        self.calibration = np.zeros(
            (3, CALIBRATION_BINS)
        )  # rows, sum of the likeliest's probability, rows it is right in

    def add(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        label, wide = labels.astype(np.int64), predictions.astype(np.float64)
        every = np.arange(label.size)
        self.rows += label.size
        self.log_loss -= float(np.log(np.clip(wide[every, label], 1e-7, 1.0)).sum())
        likeliest = wide.argmax(axis=1)
        np.add.at(self.confusion, (label, likeliest), 1)
        top = wide[every, likeliest]
        tenth = np.minimum((top * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
        for row, weights in enumerate((None, top, likeliest == label)):
            self.calibration[row] += np.bincount(tenth, weights, CALIBRATION_BINS)

    def metrics(self) -> dict[str, float]:
        rows, right = max(1, self.rows), np.diag(self.confusion)
        of_class = self.confusion.sum(axis=1)
        there = of_class > 0
        return {
            "rows": self.rows,
            "log_loss": self.log_loss / rows,
            "accuracy": float(right.sum()) / rows,
            "mean_recall": float((right[there] / of_class[there]).mean()) if there.any() else 0.0,
            "base_rate": float(of_class.max()) / rows,
            "calibration_error": float(np.abs(self.calibration[1] - self.calibration[2]).sum()) / rows,
        }

    def plots(self) -> dict[str, Any]:
        count = np.maximum(self.calibration[0], 1)
        means = zip(self.calibration[0], self.calibration[1] / count, self.calibration[2] / count, strict=True)
        return {
            "calibration": [
                {"rows": int(n), "mean_prediction": float(p), "share_right": float(y)} for n, p, y in means
            ],
            "classes": self.classes,
            "confusion": self.confusion.tolist(),
        }


class RegressionTally:
    """Of labels and predicted values; residuals are prediction less label. `label` has the training rows' labels."""

    def __init__(self, label: NumberStatistics):
        self.rows, self.squared, self.absolute, self.error = 0, 0.0, 0.0, 0.0
        self.labels = np.zeros(2)  # sums of the label's distance from its training mean, and of its square
        self.center = label.mean
        self.reach = 4 * label.variance**0.5 or 1.0
        self.residuals = np.zeros(SHOWN_BINS, np.int64)
        self.edges = label.boundaries(CALIBRATION_BINS)
        self.by_prediction = np.zeros((3, len(self.edges) + 1))  # rows, sum of predictions, sum of labels

    def add(self, labels: np.ndarray, predictions: np.ndarray) -> None:
        label, wide = labels.astype(np.float64), predictions.astype(np.float64)
        error, distance = wide - label, label - self.center
        self.rows += label.size
        self.squared += float((error**2).sum())
        self.absolute += float(np.abs(error).sum())
        self.error += float(error.sum())
        self.labels += (distance.sum(), (distance**2).sum())
        place = np.clip((error / self.reach + 1) / 2 * SHOWN_BINS, 0, SHOWN_BINS - 1).astype(np.int64)
        self.residuals += np.bincount(place, minlength=SHOWN_BINS)
        group = np.digitize(wide, self.edges)
        for row, weights in enumerate((None, wide, label)):
            self.by_prediction[row] += np.bincount(group, weights, len(self.edges) + 1)

    def metrics(self) -> dict[str, float]:
        rows = max(1, self.rows)
        spread = float(self.labels[1] - self.labels[0] ** 2 / rows)
        return {
            "rows": self.rows,
            "rmse": (self.squared / rows) ** 0.5,
            "mae": self.absolute / rows,
            "r2": 1 - self.squared / spread if spread > 0 else 0.0,
            "mean_error": self.error / rows,
        }

    def plots(self) -> dict[str, Any]:
        count = np.maximum(self.by_prediction[0], 1)
        means = zip(self.by_prediction[0], self.by_prediction[1] / count, self.by_prediction[2] / count, strict=True)
        return {
            "residuals": {"from": -self.reach, "to": self.reach, "rows": self.residuals.tolist()},
            "by_prediction": [
                {"rows": int(n), "mean_prediction": float(p), "mean_label": float(y)} for n, p, y in means
            ],
        }
