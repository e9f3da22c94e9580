"""The linear model from raw files to its seal, beside the exact solution of the same problem."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import r2_score, roc_auc_score

from penstock_trainer import export

from . import _heavy
from ._birds import birds, write
from .conftest import run

ROWS = 3000
BINARY = 'Label("heavy_", of=lambda columns: columns["mass"] > 4400)'
REGRESSION = 'Label("mass_", of=lambda columns: columns["mass"], head="regression")'


@pytest.mark.parametrize("head", ["regression", "binary"])
def test_a_linear_model_is_as_good_as_the_exact_solution_and_proven_on_every_evaluated_row(head, tmp_path):
    problem = tmp_path / "heavy.py"
    source = Path(_heavy.__file__).read_text()
    assert REGRESSION in source
    problem.write_text(source if head == "regression" else source.replace(REGRESSION, BINARY))
    common = ("--problem", problem, "--artifacts", tmp_path)
    raw = write(tmp_path / "birds.csv", ROWS)
    dataset = run("preprocess", *common, "--raw", raw, folder=tmp_path)
    found = run("train", *common, "--dataset", dataset.path, "--epochs", 12, folder=tmp_path).metrics
    for proof in ("export", "slim"):
        assert found[proof]["rows"] == dataset.counts["validation"] + dataset.counts["test"] > 0
    assert found["export"]["max_difference"] <= export.TOLERANCE * 10_000  # of values up to that

    table = birds(ROWS)
    seen, islands = np.array(table["seen"].to_pylist()), np.array(table["island"].to_pylist())
    inputs = np.column_stack([table["bill"].to_numpy(), *(islands == name for name in sorted(set(islands)))])
    training, test = seen < "2024-07-01", seen >= "2024-09-01"
    mass = table["mass"].to_numpy()
    if head == "regression":
        exact = LinearRegression().fit(inputs[training], mass[training]).predict(inputs[test])
        assert found["test"]["r2"] == pytest.approx(r2_score(mass[test], exact), abs=0.02)
    else:
        heavy = mass > 4400
        fitted = LogisticRegression(max_iter=1000).fit(inputs[training], heavy[training])
        exact = roc_auc_score(heavy[test], fitted.predict_proba(inputs[test])[:, 1])
        assert found["test"]["auc"] == pytest.approx(exact, abs=0.01)
