import json
import time
from pathlib import Path

import pytest

from penstock_trainer.__main__ import main

from .conftest import run


def tune_command(artifacts, dataset):
    stage = ["-m", "penstock_trainer", "tune", "--problem", "flights", "--artifacts", artifacts]
    return [*stage, "--dataset", dataset.path, "--trials", 2, "--epochs", 1]


def test_a_killed_process_s_trial_is_run_by_another_and_the_study_is_sealed_with_all(tmp_path, dataset, start):
    worker = start(*tune_command(tmp_path, dataset), environment={"PENSTOCK_ROLE": "trial"})
    deadline = time.monotonic() + 600
    while not any("started" in journal.read_text() for journal in tmp_path.glob("study/.*/journal.log")):
        assert time.monotonic() < deadline
        assert worker.poll() is None
        time.sleep(0.1)
    worker.kill()
    worker.wait()
    result = tmp_path / "chief.json"
    chief = start(*tune_command(tmp_path, dataset), environment={"PENSTOCK_RESULT": str(result)})
    out, _ = chief.communicate(timeout=900)
    assert chief.returncode == 0
    assert "its process is gone; another takes its place" in out
    counts = json.loads(result.read_text())["counts"]
    assert counts["fail"] == 1
    assert counts.get("complete", 0) + counts.get("pruned", 0) == 2


def test_limits_given_by_the_command_line_end_the_study_with_what_is_finished(tmp_path, dataset, capsys):
    _, _, *stage = map(str, tune_command(tmp_path, dataset))
    assert main([*stage, "--cost-limit", "5"]) == 2
    assert "a cost limit of 5.0 USD needs the price of a process: --price USD_PER_HOUR" in capsys.readouterr().err
    sealed = run(*stage, "--time-limit", 0.1, "--cost-limit", 5, "--price", 36, folder=tmp_path)
    found = json.loads((Path(sealed.path) / "study.json").read_text())
    assert found["limits"] == {"seconds": 0.1, "usd": 5.0, "usd_per_hour": 36.0}
    assert found["stopped"].startswith("the time limit of 0.1 s was reached after ")
    assert found["usd"] == pytest.approx(found["process_seconds"] / 100)
    assert sealed.counts == {"complete": 1}
