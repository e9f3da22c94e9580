"""A toy problem and its statistics, for the tests of the graph."""

import numpy as np
import tensorflow as tf

from penstock_trainer.problem import Category, Label, Number, Problem, TimeSplit, Timestamp
from penstock_trainer.statistics import CategoryStatistics, NumberStatistics

SIZES = np.array([1, 2, 3, 4, np.nan], np.float32)
STATISTICS = {
    "size": NumberStatistics.of(SIZES),
    "kind": CategoryStatistics.of(["oak", "elm", "fir"], [5, 3, 1], missing=1),
    "same": NumberStatistics.of(np.full(4, 7, np.float32)),
}


def problem(*features, **changed):
    fields = {
        "name": "toy",
        "columns": {
            "when": Timestamp(),
            "size": Number(),
            "same": Number(),
            "kind": Category(),
            "cost": Number(outcome=True),
        },
        "label": Label("dear", of=lambda columns: tf.cast(columns["cost"] > 1, tf.float32)),
        "split": TimeSplit("when", validation="2013-10-01", test="2013-11-01"),
        "features": features,
        "model": print,
    }
    return Problem(**{**fields, **changed})
