"""A handful of `make bench-chaos`' runs: real processes under the local platform's supervisor, killed at random."""

import json
import subprocess

from tests.conftest import CHECKOUT

SEEDS = {
    128: "a server is told to end",
    39: "a chief is told to end",
    473: "a server is killed as it starts, a chief in training",
    1977: "a worker is killed in training, a server after it",
}


def test_whichever_role_is_killed_the_training_ends_as_the_undisturbed_one_and_accounts_for_every_example():
    command = [CHECKOUT / "trainer/.venv/bin/python", CHECKOUT / "benchmarks/chaos.py"]
    small = ["--seeds", ",".join(map(str, SEEDS)), "--rows", "20000", "--epochs", "8", "--tolerance", "0.05"]
    done = subprocess.run([*command, *small], capture_output=True, text=True, check=True)
    (lost,) = (line for line in map(json.loads, done.stdout.splitlines()) if line["metric"] == "runs_lost")
    assert lost["value"] == 0, done.stderr
    said = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{"seed"')]
    assert [run["seed"] for run in said] == list(SEEDS), done.stderr
    hit = {(blow.split()[0], blow.split()[1].split("-")[0]) for run in said for blow in run["blows"]}
    # One that falls after the end, on a run faster than the first, hits nobody; these fall early.
    assert {("SIGTERM", "ps"), ("SIGTERM", "chief")} <= hit, done.stderr
    assert {role for name, role in hit if name == "SIGKILL"}, done.stderr
    assert all(run["resumed_after_seconds"] for run in said[:2]), done.stderr
