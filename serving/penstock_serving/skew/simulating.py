"""Distances over cells that windows show by chance: windows are drawn from the training column's own cells.

`python -m penstock_serving.skew.simulating` does it in a process of its own, draws as JSON in, floors as JSON out:
numpy's random generators take memory that a server would never give back, and half a second of its interpreter.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from subprocess import PIPE
from typing import NamedTuple

import numpy as np

from penstock_serving.skew import distances
from penstock_serving.yielding import LOADING

logger = logging.getLogger("penstock_serving")

DRAWS = 2000
OVER_CELLS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "psi": distances.psi,
    "jensen_shannon": distances.jensen_shannon,
    "l_infinity": distances.l_infinity,
}

Simulated = dict[str, dict[str, float]]
"""Floors by measure, by what they were simulated for: a column, so many rows and a chance."""


class Draw(NamedTuple):
    """What is drawn of one column."""

    seed: int
    cells: list[float]
    """How many training rows are in each."""
    trained: int
    """Training rows that have a value."""
    rows: int
    """Of a window."""
    chance: float
    """Probability with which a window passes the floor."""


def simulate(draws: Mapping[str, Draw]) -> Simulated:
    """The floors of each draw, by its name, here in this process."""
    return {name: _floors(draw) for name, draw in draws.items()}


def simulate_apart(draws: Mapping[str, Draw]) -> Simulated:
    """The same in another process, in the time that those who answer leave; here if there can be none."""
    command = [sys.executable, "-m", "penstock_serving.skew.simulating"]
    try:
        with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as process:
            os.setpriority(os.PRIO_PROCESS, process.pid, LOADING)
            found, said = process.communicate(json.dumps(draws))
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command, found, said)
        return json.loads(found)
    except (OSError, subprocess.CalledProcessError) as exc:
        reason = {"reason": str(exc), "said": str(getattr(exc, "stderr", ""))[-500:]}
        logger.warning("noise floors are simulated within the server", extra={"fields": reason})
        return simulate(draws)


def _floors(draw: Draw) -> dict[str, float]:
    random = np.random.default_rng([draw.seed, draw.rows])
    counts = np.array(draw.cells)
    shares = counts / counts.sum()
    training = random.multinomial(draw.trained, shares, DRAWS).astype(np.float64)
    windows = random.multinomial(draw.rows, shares, DRAWS).astype(np.float64)
    return {
        name: float(np.quantile(distance(training, windows), 1 - draw.chance)) for name, distance in OVER_CELLS.items()
    }


if __name__ == "__main__":
    print(json.dumps(simulate({name: Draw(*draw) for name, draw in json.load(sys.stdin).items()})))
