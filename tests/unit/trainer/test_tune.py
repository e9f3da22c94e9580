import json
import time


def tune_command(artifacts, dataset, trials=2):
    stage = ["-m", "penstock_trainer", "tune", "--problem", "flights", "--artifacts", artifacts]
    return [*stage, "--dataset", dataset.path, "--trials", trials, "--epochs", 1]


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
