"""Prism, for real; and what Beam's Dataflow runner sends, judged by Google's description of the interface."""

import json
import os
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import go_programs
import google.auth
import pyarrow.fs as pa_fs
import pytest
from apache_beam.runners.dataflow import dataflow_runner
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from google.auth.credentials import AnonymousCredentials
from google.cloud.dataflow_v1beta3 import types

from penstock_trainer import beam_pipeline, csv_blocks, predict, runners
from penstock_trainer.__main__ import main
from penstock_trainer.errors import InputError
from penstock_trainer.problem import load_problem

from .conftest import run
from .test_pipeline import exact

sys.path.append(str(Path(__file__).parents[2] / "google"))

import discovery

CREATED = "2026-11-28T00:00:00Z"
SETTINGS = {
    "project": "a-project",
    "region": "europe-west4",
    "temp_location": "gs://bucket/tmp",
    "staging_location": "gs://bucket/staging",
    "sdk_container_image": "europe-docker.pkg.dev/a-project/penstock/trainer@sha256:abc",
    "worker_machine_type": "n2-highmem-8",
    "num_workers": "2",
    "max_num_workers": "16",
    "autoscaling_algorithm": "THROUGHPUT_BASED",
    "network": "a-network",
    "subnetwork": "regions/europe-west4/subnetworks/a-subnetwork",
    "service_account_email": "worker@a-project.iam.gserviceaccount.com",
    "labels": "stack=dev",
}


SLOW = """
import os, time
from dataclasses import replace
from pathlib import Path
import tensorflow as tf
from penstock_trainer.problems import flights

def noted(month):
    Path(__file__).with_name(f"{os.getpid()}-{time.monotonic_ns()}.batch").touch()
    time.sleep(0.8)
    return month

def slowly(columns):
    derived = flights.problem.derive(columns)
    name = next(iter(derived))
    return {**derived, name: tf.ensure_shape(tf.numpy_function(noted, [derived[name]], derived[name].dtype), [None])}

problem = replace(flights.problem, derive=slowly)
"""
"""The flights, of which each batch takes a while and leaves a file that says which process had it."""


def test_prisms_processes_share_the_work_their_rows_are_counted_as_they_go_and_the_dataset_is_the_same(
    raw, dataset, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(beam_pipeline, "ASKED_SECONDS", 0.2)
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "raw").mkdir()
    for path in Path(raw.path).glob("*.csv"):
        header, *rows = path.read_text().splitlines(keepends=True)
        for start in range(0, len(rows), 500):
            (tmp_path / "raw" / f"{path.stem}-{start}.csv").write_text("".join([header, *rows[start : start + 500]]))
    prism = ("--runner", "prism", "--processes", 2, "--", f"--prism_location={go_programs.program('prism')}")
    flags = ("--problem", tmp_path / "slow.py", "--artifacts", tmp_path, "--raw", tmp_path / "raw")
    found = run("preprocess", *flags, *prism, folder=tmp_path)
    assert found.counts == dataset.counts
    assert exact(found) == exact(dataset, number=lambda value: pytest.approx(value, rel=1e-6, abs=1e-6))
    batches = Counter(path.name.split("-")[0] for path in tmp_path.glob("*.batch"))
    del batches[str(os.getpid())]  # which looked whether the problem's functions work
    assert sorted(batches.values()) == [6, 6]
    said = [int(each.replace(",", "")) for each in re.findall(r"^([\d,]+) rows read$", capsys.readouterr().out, re.M)]
    assert said == sorted(set(said))
    assert said[-1] == raw.counts["rows"]
    assert len(said) > 3, "and not only when all was done"


def test_what_is_wrong_with_the_input_is_said_by_prisms_workers_too(raw, tmp_path, capsys):
    files = [Path(shutil.copy(path, tmp_path)) for path in Path(raw.path).glob("*.csv")]
    with files[0].open("a") as file:
        file.write('2013,1,1,"left open' + "x" * csv_blocks.LONGEST_RECORD)
    prism = f"--prism_location={go_programs.program('prism')}"
    flags = ("--problem", "flights", "--artifacts", tmp_path, "--raw", files[0], "--runner", "prism", "--", prism)
    assert main(["preprocess", *map(str, flags)]) == 2
    assert "is a quote left open?" in capsys.readouterr().err.splitlines()[-1]


def test_dataflow_is_refused_where_its_workers_would_not_reach_the_files(tmp_path, raw, capsys):
    flags = ["--problem", "flights", "--artifacts", str(tmp_path), "--raw", raw.path, "--runner", "dataflow"]
    assert main(["preprocess", *flags]) == 2
    assert "raw files must begin with gs://" in capsys.readouterr().err
    settings = [f"--{name}={value}" for name, value in {**SETTINGS, "temp_location": "/tmp/x"}.items()]
    with pytest.raises(InputError, match="--temp_location is /tmp/x; it must begin with gs://"):
        runners.beam_options("dataflow", 1, settings, tmp_path)


class Dataflow(BaseHTTPRequestHandler):
    """An endpoint that takes a job if the interface's description does, and says how its jobs stand.

    `jobs` are there, by id; a new one is in the state `outcome` when it is asked for. `said` is the last error's text.
    """

    def do_POST(self):
        # Google's client asks for enumerations as numbers (`$alt`); the description knows their names.
        path, _, query = self.path.partition("?")
        assert unquote(query) == "$alt=json;enum-encoding=int"
        job = types.Job.from_json(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.loads(
            types.Job.to_json(job, use_integers_for_enums=False, always_print_fields_with_no_presence=False)
        )
        called = discovery.call("dataflow", "v1b3", "POST", path, body)
        self.cloud.calls.append((called, body))
        made = {"id": f"job-{len(self.cloud.jobs)}", "name": body.get("name"), "createTime": CREATED}
        made["location"] = "europe-west4"
        self.cloud.jobs[made["id"]] = made | {"projectId": "a-project", "currentState": self.cloud.outcome}
        self.answer({**body, **made, "currentState": "JOB_STATE_PENDING"})

    def do_GET(self):
        path, _, query = self.path.partition("?")
        # The generated client writes enumerations' encoding into the query, which is no parameter of the interface.
        known = "&".join(part for part in query.split("&") if not part.startswith(("%24alt", "$alt")))
        called = discovery.call("dataflow", "v1b3", "GET", f"{path}?{known}")
        if called.method.endswith("jobs.list"):
            self.cloud.looked.append(called.parameters["name"])
            self.answer({"jobs": list(self.cloud.jobs.values())})
        elif called.method.endswith("jobs.get"):
            self.cloud.asked()
            self.answer(self.cloud.jobs[called.parameters["jobId"]])
        elif called.method.endswith("jobs.getMetrics"):
            self.answer({"metrics": [counter("true", 345678), counter("false", 234567)]})
            self.cloud.counted()
        elif called.method.endswith("messages.list") and self.cloud.said:
            error = {"messageText": self.cloud.said, "messageImportance": "JOB_MESSAGE_ERROR", "time": CREATED}
            self.answer({"jobMessages": [error]})
        else:
            self.answer({})

    @property
    def cloud(self) -> "Cloud":
        assert isinstance(self.server, Cloud)
        return self.server

    def answer(self, value):
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def counter(tentative, value):
    """As Dataflow tells one of the pipeline's own: once as attempted, once as committed."""
    context = {"namespace": beam_pipeline.METRIC, "step": "s5", "tentative": tentative}
    return {"name": {"origin": "user", "name": beam_pipeline.METRIC, "context": context}, "scalar": value}


class Cloud(ThreadingHTTPServer):
    """What the endpoint knows."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Dataflow)
        self.calls: list[Any] = []
        self.looked: list[str] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.outcome, self.said = "JOB_STATE_FAILED", "a worker gave up"
        self.asked: Callable[[], None] = lambda: None
        self.counted: Callable[[], None] = lambda: None

    def job(self, name, state, created=None):
        found = {"id": f"job-{len(self.jobs)}", "name": name, "currentState": state, "createTime": created or CREATED}
        self.jobs[found["id"]] = {**found, "projectId": "a-project", "location": "europe-west4"}
        return found["id"]


@pytest.fixture
def endpoint(monkeypatch):
    # Beam looks every five seconds.
    hurried = SimpleNamespace(time=time.time, sleep=lambda _: time.sleep(0.02))
    monkeypatch.setattr(dataflow_runner, "time", hurried)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "a-project")
    monkeypatch.setattr(google.auth, "default", lambda **_: (AnonymousCredentials(), "a-project"))
    server = Cloud()
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_every_setting_reaches_dataflow_where_google_looks_for_it_and_its_counter_the_user(
    endpoint, storage, tmp_path, capsys
):
    """The endpoint's job runs until somebody has asked for its counters, and was cancelled then."""

    def cancelled():
        for each in endpoint.jobs.values():
            each["currentState"] = "JOB_STATE_CANCELLED"

    endpoint.outcome, endpoint.counted = "JOB_STATE_RUNNING", cancelled
    storage.create_dir("bucket")
    given = [f"--{name}={value}" for name, value in SETTINGS.items()]
    given += ["--no_use_public_ips", "--no_auth", f"--dataflow_endpoint=http://localhost:{endpoint.server_port}"]
    options = runners.beam_options("dataflow", 1, given, tmp_path)
    flights = load_problem("flights")
    scratch = runners.scratch_name("dataflow", options, "key", tmp_path)
    assert scratch == "gs://bucket/tmp/penstock-key"
    # It goes as far as the wire: the endpoint takes the job, runs it, and says that it was cancelled.
    with pytest.raises((DataflowRuntimeException, RuntimeError), match="CANCELLED"):
        beam_pipeline.run(flights, "flights", ["gs://bucket/a.csv"], tmp_path / "d", scratch, options)
    assert "234,567 rows read" in capsys.readouterr().out.splitlines()
    ((called, job),) = endpoint.calls
    assert called.method == "dataflow.projects.locations.jobs.create"
    assert (called.parameters["projectId"], called.parameters["location"]) == ("a-project", "europe-west4")
    assert job["type"] == "JOB_TYPE_BATCH"
    assert job["labels"]["stack"] == "dev"
    environment = job["environment"]
    assert environment["serviceAccountEmail"] == SETTINGS["service_account_email"]
    assert "/bucket/tmp/" in environment["tempStoragePrefix"]
    (pool,) = environment["workerPools"]
    assert pool["machineType"] == "n2-highmem-8"
    assert pool["numWorkers"] == 2
    assert pool["autoscalingSettings"] == {"algorithm": "AUTOSCALING_ALGORITHM_BASIC", "maxNumWorkers": 16}
    assert pool["network"] == "a-network"
    assert pool["subnetwork"] == SETTINGS["subnetwork"]
    assert pool["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert SETTINGS["sdk_container_image"] in [each["containerImage"] for each in pool["sdkHarnessContainerImages"]]
    # Beam gives each job a folder of its own there.
    assert environment["sdkPipelineOptions"]["options"]["staging_location"].startswith("gs://bucket/staging/")


QUIET = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


class Bucket:
    """One of a test's own, with the raw flights in it."""

    def __init__(self, storage, name, raw):
        self.storage, self.name = storage, name
        storage.create_dir(name)
        for path in Path(raw.path).glob("*.csv"):
            self.write(f"raw/{path.name}", path.read_bytes())

    def write(self, path, content):
        with self.storage.open_output_stream(f"{self.name}/{path}") as file:
            file.write(content)

    def left(self):
        """What a job or its launcher left, but for the pipeline that Beam itself uploads."""
        below = pa_fs.FileSelector(f"{self.name}/tmp", recursive=True, allow_not_found=True)
        return [each.path.removeprefix(f"{self.name}/") for each in self.storage.get_file_info(below) if each.is_file]


@pytest.fixture
def bucket(storage, raw, request):
    return Bucket(storage, f"b{abs(hash(request.node.name))}", raw)


@pytest.fixture
def on_dataflow(endpoint, bucket):
    """Runs a stage as a launcher does; its exit code."""
    place = f"gs://{bucket.name}"
    settings = {**SETTINGS, "temp_location": f"{place}/tmp", "staging_location": f"{place}/staging"}
    given = [f"--{name}={value}" for name, value in settings.items()]
    given += ["--no_use_public_ips", "--no_auth", f"--dataflow_endpoint=http://localhost:{endpoint.server_port}"]
    flags = ["--raw", f"{place}/raw/*.csv", "--runner", "dataflow", "--", *given]
    return lambda *stage: main([*map(str, stage), *flags])


@pytest.fixture
def launch(on_dataflow, tmp_path):
    """Preprocessing."""
    return lambda: on_dataflow("preprocess", "--problem", "flights", "--artifacts", tmp_path)


@pytest.fixture
def launch_prediction(on_dataflow, model, tmp_path):
    """Batch prediction."""
    return lambda: on_dataflow("predict", "--model", model.path, "--output", tmp_path)


def scratch_of(endpoint):
    """The folder of the stage's only job, by the name that it was looked for with."""
    return f"tmp/penstock-{endpoint.looked[-1].split('-')[1]}"


def worked(bucket, artifact, folder):
    """What a job's workers leave: here those of the in-process runner."""
    for path in Path(artifact.path).rglob("*"):
        if path.is_file() and path.name not in ("manifest.json", "report.html") and "lineage" not in path.parts:
            bucket.write(f"{folder}/made/{path.relative_to(artifact.path)}", path.read_bytes())


@QUIET
def test_a_problem_in_a_file_is_refused_for_dataflow_before_anything_is_read_or_launched(
    endpoint, on_dataflow, bucket, tmp_path, capsys
):
    draft = tmp_path / "draft.py"
    draft.write_text("raise AssertionError('it was read')")
    assert on_dataflow("preprocess", "--problem", draft, "--artifacts", tmp_path) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said == (
        f"error: runner 'dataflow': its workers have what is in their image, and the problem is the file {draft}; make "
        "it a module of a package that the image holds"
    )
    assert not endpoint.calls
    assert not endpoint.looked
    assert bucket.left() == []


@QUIET
def test_a_launcher_that_comes_back_waits_for_its_job_and_launches_no_other(endpoint, launch, bucket, dataset, capsys):
    assert launch() == 1, "only to learn the name"
    ((_, job),) = endpoint.calls
    assert re.fullmatch(r"penstock-[0-9a-f]{16}-[0-9a-f]{8}", job["name"])
    assert job["name"] in endpoint.looked
    running = endpoint.job(job["name"], "JOB_STATE_QUEUED", "2026-11-29T00:00:00Z")
    endpoint.job(f"{job['name']}0", "JOB_STATE_RUNNING")
    endpoint.job(job["name"], "JOB_STATE_CANCELLED")
    asked = iter(range(1000))

    def goes_on():
        if next(asked) == 3:
            worked(bucket, dataset, scratch_of(endpoint))
            endpoint.jobs[running]["currentState"] = "JOB_STATE_DONE"

    endpoint.asked = goes_on
    assert launch() == 0
    assert f"Dataflow job {running} is " in capsys.readouterr().out
    assert len(endpoint.calls) == 1, "nothing was launched"
    assert bucket.left() == [], "and once it was sealed nothing is left"


@QUIET
def test_a_job_that_ended_while_nobody_looked_is_not_done_again(endpoint, launch, bucket, dataset):
    assert launch() == 1
    endpoint.job(endpoint.looked[-1], "JOB_STATE_DONE", "2026-11-29T00:00:00Z")
    worked(bucket, dataset, scratch_of(endpoint))
    assert launch() == 0
    assert len(endpoint.calls) == 1


@QUIET
def test_predictions_are_waited_for_and_taken_in_the_same_way(
    endpoint, launch_prediction, bucket, model, raw, tmp_path, capsys
):
    predicted = run("predict", "--model", model.path, "--raw", raw.path, "--output", tmp_path / "a", folder=tmp_path)
    assert launch_prediction() == 1, "only to learn the name"
    ((_, job),) = endpoint.calls
    assert re.fullmatch(r"penstock-[0-9a-f]{16}-[0-9a-f]{8}", job["name"])
    assert bucket.left() == [], "nor the model that its workers were given"
    running = endpoint.job(job["name"], "JOB_STATE_RUNNING", "2026-11-29T00:00:00Z")

    def ends():
        worked(bucket, predicted, scratch_of(endpoint))
        bucket.write(f"{scratch_of(endpoint)}/{predict.SUM}", str(predicted.counts["predicted"]).encode())
        endpoint.jobs[running]["currentState"] = "JOB_STATE_DONE"

    endpoint.asked = ends
    assert launch_prediction() == 0
    told = capsys.readouterr().out
    assert f"Dataflow job {running} is " in told
    assert f"predicted {predicted.counts['predicted']:,}" in told
    assert len(endpoint.calls) == 1, "nothing was launched"
    assert bucket.left() == [], "and once it was sealed nothing is left"


@QUIET
def test_predictions_that_ended_without_their_number_are_made_anew(endpoint, launch_prediction, bucket):
    assert launch_prediction() == 1
    endpoint.job(endpoint.looked[-1], "JOB_STATE_DONE", "2026-11-29T00:00:00Z")
    bucket.write(f"{scratch_of(endpoint)}/made/predictions/stale.parquet", b"of another attempt")
    assert launch_prediction() == 1
    assert len(endpoint.calls) == 2


@QUIET
def test_a_launcher_that_is_told_to_end_leaves_what_its_job_works_on(endpoint, launch, bucket):
    def told_to_end():
        bucket.write(f"{scratch_of(endpoint)}/part.arrow", b"a worker's")
        os.kill(os.getpid(), signal.SIGTERM)
        endpoint.asked = lambda: None

    endpoint.outcome, endpoint.asked = "JOB_STATE_RUNNING", told_to_end
    with pytest.raises(SystemExit):
        launch()
    assert bucket.left() == [f"{scratch_of(endpoint)}/part.arrow"]
    for job in endpoint.jobs.values():
        job["currentState"] = "JOB_STATE_CANCELLED"  # else Beam's own thread goes on asking


@QUIET
def test_a_job_that_failed_is_launched_anew_on_an_empty_folder_and_says_what_its_workers_said(
    endpoint, launch, bucket, capsys
):
    endpoint.said = "Traceback (most recent call last):\npenstock_trainer.errors.InputError: a.csv has no column 'x'"
    assert launch() == 2, "the input is at fault: no restart would help"
    assert "a.csv has no column 'x'" in capsys.readouterr().err.splitlines()[-1]
    bucket.write(f"{scratch_of(endpoint)}/made/stale.arrow", b"of another attempt")
    assert launch() == 2
    assert len(endpoint.calls) == 2
    assert bucket.left() == []


@pytest.mark.parametrize("name", runners.NEEDED)
def test_a_setting_that_dataflow_needs_is_asked_for_by_name(tmp_path, name):
    given = [f"--{key}={value}" for key, value in SETTINGS.items() if key != name]
    with pytest.raises(InputError, match=f"--{name}"):
        runners.beam_options("dataflow", 1, given, tmp_path)


def test_small_input_is_read_by_one_process_and_large_input_by_as_many_as_there_are_cores(monkeypatch):
    monkeypatch.setattr(runners.capacity, "memory", lambda: 1 << 50)
    cores = len(os.sched_getaffinity(0))
    assert [runners.processes_for(size) for size in (0, 1, (1 << 30) - 1)] == [1, 1, 1]
    assert runners.processes_for(1 << 30) == min(2, cores)
    assert runners.processes_for(cores << 29) == runners.processes_for(1 << 50) == cores


def test_a_container_has_no_more_processes_than_its_limits_have_room_for(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    monkeypatch.setattr(runners.capacity, "CGROUP", tmp_path)
    monkeypatch.setattr(runners.capacity, "MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal:       64000000 kB\nMemAvailable:   13107200 kB\n")
    large = 1 << 50
    assert runners.processes_for(large) == 10, "12.5 GiB are free"
    for cpus, memory, expected in (
        ("max 100000", str(2 << 30), 1),
        ("150000 100000", str(4 << 30), 2),
        ("400000 100000", str(3 << 30), 2),
        ("50000 100000", "max", 1),
    ):
        (tmp_path / "cpu.max").write_text(f"{cpus}\n")
        (tmp_path / "memory.max").write_text(f"{memory}\n")
        assert runners.processes_for(large) == expected, (cpus, memory)


def test_another_runner_among_beams_options_is_refused_and_not_followed(tmp_path):
    with pytest.raises(InputError, match="'prism', and Beam's options name 'DirectRunner'"):
        runners.beam_options("prism", 1, ["--runner=DirectRunner"], tmp_path)


def test_prism_that_is_not_there_is_no_reason_to_run_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no prism on PATH"):
        runners.beam_options("prism", 1, [], tmp_path)
