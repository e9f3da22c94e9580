import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.storages.journal._storage import JournalOperation


def tune(artifacts, dataset, role, trials=3):
    command = [sys.executable, "-m", "penstock_trainer", "tune", "--problem", "flights", "--artifacts", str(artifacts)]
    command += ["--dataset", dataset.path, "--trials", str(trials), "--epochs", "1"]
    environment = {**os.environ, "PENSTOCK_ROLE": role, "PENSTOCK_RESULT": str(artifacts / f"{role}.json")}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def running_trials(journal):
    """How many trials are under way, by the journal's own lines."""
    if not journal.exists():
        return 0
    operations = [json.loads(line)["op_code"] for line in journal.read_text().splitlines() if line.endswith("}")]
    return operations.count(JournalOperation.CREATE_TRIAL) - operations.count(JournalOperation.SET_TRIAL_STATE_VALUES)


@pytest.fixture
def processes():
    started = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_a_killed_process_s_trial_is_run_by_another_and_the_study_is_sealed_with_all(tmp_path, dataset, processes):
    worker = tune(tmp_path, dataset, "trial")
    processes.append(worker)
    deadline = time.monotonic() + 120
    while not any(running_trials(journal) for journal in Path(tmp_path).glob("study/.*/journal.log")):
        assert time.monotonic() < deadline
        assert worker.poll() is None
        time.sleep(0.2)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    chief = tune(tmp_path, dataset, "chief")
    processes.append(chief)
    out, _ = chief.communicate(timeout=240)
    assert chief.returncode == 0
    assert "its process is gone; another takes its place" in out
    result = json.loads((tmp_path / "chief.json").read_text())
    assert result["counts"]["fail"] == 1
    assert result["counts"].get("complete", 0) + result["counts"].get("pruned", 0) == 3
