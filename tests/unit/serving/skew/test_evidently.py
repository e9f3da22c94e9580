"""The distances beside Evidently's drift scores of the very same rows, over its own cells."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock_serving.skew import distances

ORACLE = Path(__file__).resolve().parents[4] / ".tools/oracle/bin/python"
SCRIPT = Path(__file__).with_name("oracle") / "evidently_distances.py"
WORDS = np.array(["EWR", "JFK", "LGA", "TEB"])


def samples() -> list[dict[str, Any]]:
    """Rows before and after: numbers that leave no cell empty, and categories; equal, moved, and of other shapes."""
    random = np.random.default_rng(2013)

    def words(*percents: int) -> list[str]:
        return WORDS.repeat(np.array(percents) * 200).tolist()

    uniform, equal = random.uniform(0, 1, (2, 20_000)).tolist()
    steeper, bent = random.beta(2, 1, 20_000).tolist(), random.beta(2, 2, 9_000).tolist()
    numbers = [{"kind": "number", "before": uniform, "after": after} for after in (equal, steeper, bent)]
    moved = [words(40, 30, 20, 10), words(10, 20, 30, 40), words(5, 5, 5, 85)]
    return [*numbers, *({"kind": "category", "before": words(40, 30, 20, 10), "after": after} for after in moved)]


def cells(sample: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Both sides' counts: of numbers over the cells of Sturges' rule for all of them, as Evidently has it."""
    if sample["kind"] == "category":
        return tuple(np.array([float(sample[side].count(word)) for word in WORDS]) for side in ("before", "after"))  # pyright: ignore[reportReturnType]
    edges = np.histogram_bin_edges([*sample["before"], *sample["after"]], bins="sturges")
    return tuple(np.histogram(sample[side], edges)[0].astype(np.float64) for side in ("before", "after"))  # pyright: ignore[reportReturnType]


def test_over_equal_cells_they_are_evidentlys_but_for_the_half_a_row_that_is_added_to_each():
    asked = samples()
    quiet = os.environ | {"DO_NOT_TRACK": "1"}
    command = [ORACLE, SCRIPT]
    done = subprocess.run(command, input=json.dumps(asked), env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout.splitlines()[-1])
    for sample, score in zip(asked, scores, strict=True):
        before, after = cells(sample)
        assert min(*before, *after) > 0, "an empty cell is filled by both, each in a way of its own"
        assert distances.psi(before, after) == pytest.approx(score["psi"], rel=0.02, abs=1e-9)
        # Evidently's is to base e.
        natural = score["jensen_shannon"] / np.sqrt(np.log(2))
        assert distances.jensen_shannon(before, after) == pytest.approx(natural, rel=0.01, abs=1e-6)
    assert [score["psi"] > 0.1 for score in scores] == [False, True, True, False, True, True]
