"""Evidently's own drift scores: reads `[{"kind", "before", "after"}, ...]`, prints `[{test: score}, ...]`."""

import json
import sys

import pandas as pd  # pyright: ignore[reportMissingImports] (it runs in an environment of its own)
from evidently.legacy.calculations.stattests import (  # pyright: ignore[reportMissingImports]
    jensenshannon_stat_test,
    psi_stat_test,
)
from evidently.legacy.core import ColumnType  # pyright: ignore[reportMissingImports]

TESTS = {"psi": psi_stat_test, "jensen_shannon": jensenshannon_stat_test}
KINDS = {"number": ColumnType.Numerical, "category": ColumnType.Categorical}

scores = [
    {
        name: float(test(pd.Series(each["before"]), pd.Series(each["after"]), KINDS[each["kind"]], None).drift_score)
        for name, test in TESTS.items()
    }
    for each in json.load(sys.stdin)
]
print(json.dumps(scores))
