"""Real trainings whose processes are killed, under the local platform's own supervisor."""

import json
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
RUNS = 2


def test_no_training_is_lost_when_random_roles_are_killed_at_random_times():
    """`make bench-chaos` does the same for 50 seeds; each run's blows and accounting are on its standard error."""
    command = [PROJECT / "trainer/.venv/bin/python", PROJECT / "benchmarks/chaos.py", "--runs", str(RUNS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    results = {line["metric"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert results["runs_lost"]["value"] == 0, done.stderr[-4000:]
    runs = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{"seed"')]
    assert len(runs) == RUNS
    assert any(run["blows"] for run in runs)
    assert all("each at least once" in run["accounting"] for run in runs)
