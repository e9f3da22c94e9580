"""`make up` and `make down` on the real engine, the real trainer and the real server."""

import os
import re
import signal
import socket
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import free_port, listens


def test_the_first_up_ends_with_an_endpoint_that_serves_the_sealed_model(served):
    outputs = served.outputs()
    assert served.get("/attestation")["digest"] == outputs["model_digest"]
    rows = outputs["rows"]
    assert rows["rows"] == sum(count for name, count in rows.items() if name != "rows")
    assert rows["rows"] == 6000
    assert set(outputs) == {
        "endpoint", "model_name", "model_digest", "dataset_digest", "study_digest", "rows", "report", "metrics",
        "console", "estimated_cost", "tensorboard", "study_report", "model_card",
    }  # fmt: skip


def test_a_second_up_changes_nothing_and_starts_no_stage(served):
    served.run("up")
    before = {log: log.stat().st_mtime_ns for log in (served.stack_folder / "logs").rglob("*-0.log")}
    server = served.deployment()["flow-serve-server"]["outputs"]["pid"]
    begin = time.monotonic()
    output = served.run("up")
    seconds = time.monotonic() - begin
    assert re.search(r"\d+ unchanged", output)
    assert not re.search(r"\d+ (created|updated|deleted|replaced)", output)
    assert {log: log.stat().st_mtime_ns for log in before} == before
    assert served.deployment()["flow-serve-server"]["outputs"]["pid"] == server
    assert seconds < 20


def test_a_dead_server_is_started_again_by_the_next_up(served):
    dead = int(served.deployment()["flow-serve-server"]["outputs"]["pid"])
    os.kill(dead, signal.SIGKILL)
    served.run("up")
    server = int(served.deployment()["flow-serve-server"]["outputs"]["pid"])
    assert server != dead
    assert os.sched_getscheduler(server) == os.SCHED_OTHER  # unlike the deployment, which gives way to it
    assert os.sched_getaffinity(server) == os.sched_getaffinity(0)
    assert served.get("/attestation")["digest"] == served.outputs()["model_digest"]


def test_the_curves_of_the_training_are_a_page_as_long_as_the_setting_says_so(served):
    served.configure(tensorboard_port=free_port())
    served.run("up")
    page = served.outputs()["tensorboard"]
    with urllib.request.urlopen(page, timeout=10) as response:
        assert b"TensorBoard" in response.read()
    served.configure()
    served.run("up")
    assert served.strays() == {}


def test_a_port_in_use_is_told_with_its_holder_and_the_way_out(served):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        served.configure(port=port)
        output = served.run("up", expected=1)
    served.configure()
    served.run("up")
    assert f"port {port} on 127.0.0.1 is used by" in output
    assert f"pid {os.getpid()}" in output
    assert "pulumi config set port" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"trails": 3}, "unknown setting 'trails' (value '3'): did you mean 'trials'?"),
        ({"workers": "many"}, "setting 'workers' is 'many': input should be a valid integer"),
        ({"epochs": 0}, "setting 'epochs' is '0': input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_starts(served, settings, told):
    served.configure(**settings)
    output = served.run("up", expected=1)
    served.configure()
    assert told in output
    assert "Traceback" not in output
    assert "Updating" not in output


def test_a_column_that_is_not_there_is_told_without_a_traceback_and_seals_nothing(served):
    text = served.problem.read_text()
    sealed = sorted(served.stack_folder.glob("artifacts/*/*/manifest.json"))
    served.problem.write_text(
        text.replace('"origin": Category(', '"orign": Category(').replace('("origin"', '("orign"')
    )
    output = served.run("up", expected=1)
    served.problem.write_text(text)
    assert "orign" in output
    assert "Traceback" not in output
    assert sorted(served.stack_folder.glob("artifacts/*/*/manifest.json")) == sealed


def test_a_changed_feature_reruns_tuning_and_training_but_not_preprocessing(served):
    before = stages(served)
    text = served.problem.read_text()
    changed = re.sub(r"(Bucketized\(\"weekday\", buckets=7), dimension=2\)", r"\1, dimension=3)", text)
    assert changed != text
    served.problem.write_text(changed)
    served.run("up")
    after = stages(served)
    assert after["flow-preprocess-dataset"]["reused"] is True
    assert after["flow-preprocess-dataset"]["digest"] == before["flow-preprocess-dataset"]["digest"]
    assert after["flow-tune-study"]["digest"] != before["flow-tune-study"]["digest"]
    assert after["flow-train-model"]["digest"] != before["flow-train-model"]["digest"]
    # The same URL, now with the new model.
    assert served.get("/attestation")["digest"] == after["flow-train-model"]["digest"]


def test_an_artifact_that_is_gone_is_made_again_and_what_came_of_it_stays(served):
    before = stages(served)
    Path(before["flow-preprocess-raw"]["path"], "manifest.json").unlink()
    output = served.run("up")
    after = stages(served)
    assert after["flow-preprocess-raw"]["reused"] is False
    assert {name: stage["digest"] for name, stage in after.items()} == {
        name: stage["digest"] for name, stage in before.items()
    }
    assert "1 updated" in output


def stages(project):
    """The outputs of the stack's jobs, by name."""
    return {name: found["outputs"] for name, found in project.deployment().items() if "LocalJob" in found["type"]}


@pytest.mark.last
def test_down_leaves_no_process_no_port_and_only_the_files_to_keep(served):
    raw = [file for file in (served.stack_folder / "artifacts/raw").rglob("*") if file.is_file()]
    served.run("down")
    assert served.processes() == {}
    assert not listens(served.port)
    notebook = served.root / ".penstock/notebook"  # its own work, which `down` leaves to it
    left = [file for file in (served.root / ".penstock").rglob("*") if file.is_file() and notebook not in file.parents]
    assert sorted(left) == sorted(raw)
