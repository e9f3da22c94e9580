"""A run that is cut short leaves no process behind, and the next one continues from the last sealed artifact."""

import os
import re
import signal
import time
from contextlib import suppress

from tests.conftest import engine_of


def manifests(project):
    found = project.stack_folder.glob("artifacts/*/*/manifest.json")
    return {path.parent.parent.name: path.stat().st_mtime_ns for path in found}


def told_while_it_runs(project):
    """Asks what an `up` is at, which is no resource of the state yet; its processes wait meanwhile."""
    deadline = time.monotonic() + 120
    while not (trials := [pid for pid, line in project.processes().items() if "-m penstock_trainer tune" in line]):
        assert time.monotonic() < deadline, project.processes()
        time.sleep(0.1)
    (engine,) = [pid for pid, line in project.processes().items() if "/pulumi up " in line]
    # It gives way to whoever answers; what it starts does not.
    assert os.sched_getscheduler(engine) == os.SCHED_BATCH
    assert {os.sched_getscheduler(pid) for pid in trials} == {os.SCHED_OTHER}
    assert all(os.sched_getaffinity(pid) == os.sched_getaffinity(0) for pid in trials)
    for pid in trials:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert "flow-tune-study" not in project.deployment()
        said = project.operate("status")
        assert re.search(r"flow-tune-study\s+running", said), said
        assert re.search(r"flow-preprocess-raw\s+sealed", said), said
        known = project.operate("logs", "tune", "nobody", expected=1)
        assert re.search(r"flow-tune-study \([^)]*trial-0", known), known
    finally:
        for pid in trials:
            os.kill(pid, signal.SIGCONT)


def test_killed_in_every_stage_it_leaves_no_process_and_goes_on_from_what_is_sealed(project):
    # One process trains: how parameter servers and workers end is the supervisor's, whose tests have several.
    project.configure(rows=3000, strategy="local")
    sealed = {}
    for stage, kinds in [
        ("flow-preprocess-raw", set()),
        ("flow-preprocess-dataset", {"raw"}),
        ("flow-tune-study", {"raw", "dataset"}),
        ("flow-train-model", {"raw", "dataset", "study"}),
        ("flow-serve-server", {"raw", "dataset", "study", "models"}),
    ]:
        started = project.start("up")
        project.wait_for(f"{project.stack_folder}/logs/{stage}", started)
        engine = engine_of(started)
        if asked := stage == "flow-tune-study":
            told_while_it_runs(project)
            assert f"stack local is in use by pid {engine.pid} of" in project.operate("unlock", expected=1)
        engine.kill()
        assert started.wait(30) == 1
        if asked:
            assert f"pid {engine.pid} of" in project.operate("unlock")
            assert "stack local is not locked" in project.operate("unlock")
        assert project.left_after(15) == {}, stage
        assert project.processes() == {}, stage
        now = manifests(project)
        assert set(now) == kinds
        assert {kind: now[kind] for kind in sealed} == sealed, "a sealed artifact was made again"
        sealed = now

    output = project.run("up")
    assert "its lock on stack local is released" in output
    beside = [path for path in project.state_file.parent.iterdir() if path.suffix == ".attrs"]
    assert not beside, "killed while it writes one of these, which are not replaced atomically, it loses the state"
    assert {kind: manifests(project)[kind] for kind in sealed} == sealed
    assert project.get("/attestation")["digest"] == project.outputs()["model_digest"]


def test_one_ctrl_c_ends_the_running_stage_and_says_how_to_go_on(project):
    started = project.start("up")
    project.wait_for("logs in", started)
    # What a terminal does on Ctrl-C: SIGINT to the whole foreground process group.
    os.killpg(started.pid, signal.SIGINT)
    assert started.wait(30) == 1
    assert project.left_after(5) == {}
    output = project.output()
    assert "was interrupted" in output
    assert "`make up` continues from the last sealed artifact" in output
    assert "Traceback" not in output


def test_a_killed_process_group_leaves_no_process(project):
    started = project.start("up")
    project.wait_for("logs in", started)
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait(10)
    assert project.left_after(20) == {}
