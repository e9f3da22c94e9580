"""A handful of `make bench-chaos`' runs: real processes under the local platform's supervisor, killed at random."""

import json
import subprocess

from tests.conftest import CHECKOUT

RUNS = 4  # the seeds 1 to 4: a chief, a server as it starts, a server in training, a worker


def test_whichever_role_is_killed_the_training_ends_as_the_undisturbed_one_and_accounts_for_every_example():
    command = [CHECKOUT / "trainer/.venv/bin/python", CHECKOUT / "benchmarks/chaos.py", "--runs", str(RUNS)]
    small = ["--rows", "20000", "--epochs", "8", "--tolerance", "0.05"]
    done = subprocess.run([*command, *small], capture_output=True, text=True, check=True)
    (lost,) = (line for line in map(json.loads, done.stdout.splitlines()) if line["metric"] == "runs_lost")
    assert lost["value"] == 0, done.stderr
    said = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{"seed"')]
    hit = {blow.split()[1].split("-")[0] for run in said for blow in run["blows"]}
    assert len(said) == RUNS, done.stderr
    assert len(hit) > 1, done.stderr  # a blow that falls after the end, on a run faster than the first, hits nobody
