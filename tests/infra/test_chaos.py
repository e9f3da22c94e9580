"""One of `make bench-chaos`' runs: real processes under the local platform's supervisor, killed at random."""

import json
import subprocess

from tests.conftest import CHECKOUT

SEED = "84"  # in whose run the chief is killed in training, then a worker and a parameter server as it starts again


def test_whichever_role_is_killed_the_training_ends_as_the_undisturbed_one_and_accounts_for_every_example():
    command = [CHECKOUT / "trainer/.venv/bin/python", CHECKOUT / "benchmarks/chaos.py", "--first-seed", SEED]
    small = ["--runs", "1", "--rows", "20000", "--epochs", "8", "--tolerance", "0.05"]
    done = subprocess.run([*command, *small], capture_output=True, text=True, check=True)
    (lost,) = (line for line in map(json.loads, done.stdout.splitlines()) if line["metric"] == "runs_lost")
    assert lost["value"] == 0, done.stderr
    (said,) = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{"seed"')]
    hit = {blow.split()[1].split("-")[0] for blow in said["blows"]}
    assert hit == {"chief", "worker", "ps"}, done.stderr  # a blow that falls after the run's end hits nobody
