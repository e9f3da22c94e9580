"""Prism, for real; and what Beam's Dataflow runner sends, judged by Google's description of the interface."""

import json
import shutil
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import unquote

import go_programs
import google.auth
import pytest
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from google.auth.credentials import AnonymousCredentials
from google.cloud.dataflow_v1beta3 import types

from penstock_trainer import beam_pipeline, csv_blocks, runners
from penstock_trainer.__main__ import main
from penstock_trainer.errors import InputError
from penstock_trainer.problem import load_problem

from .conftest import run
from .test_pipeline import exact

sys.path.append(str(Path(__file__).parents[2] / "google"))

import discovery

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


def test_prism_in_processes_of_its_own_makes_the_same_dataset_and_says_how_far_it_is(raw, dataset, tmp_path, capsys):
    prism = f"--prism_location={go_programs.program('prism')}"
    flags = ("--problem", "flights", "--artifacts", tmp_path, "--raw", raw.path, "--runner", "prism", "--", prism)
    found = run("preprocess", *flags, folder=tmp_path)
    assert found.counts == dataset.counts
    assert exact(found) == exact(dataset, number=lambda value: pytest.approx(value, rel=1e-6, abs=1e-6))
    name = Path("examples.json")
    assert (Path(found.path) / name).read_text().count("block") == (Path(dataset.path) / name).read_text().count(
        "block"
    )
    assert f"{raw.counts['rows']:,} rows read" in capsys.readouterr().out


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
    """An endpoint that takes a job if the interface's description does, runs until someone asked for its counters, and
    was cancelled then.
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
        self.server.calls.append((called, body))  # pyright: ignore[reportAttributeAccessIssue]
        self.answer({**body, "id": "job-1", "currentState": "JOB_STATE_PENDING"})

    def do_GET(self):
        called = discovery.call("dataflow", "v1b3", "GET", self.path.partition("?")[0])
        asked: Event = self.server.asked  # pyright: ignore[reportAttributeAccessIssue]
        if called.method.endswith("jobs.getMetrics"):
            self.answer({"metrics": [counter("true", 345678), counter("false", 234567)]})
            asked.set()
            return
        state = "JOB_STATE_CANCELLED" if asked.is_set() else "JOB_STATE_RUNNING"
        job = {"id": "job-1", "currentState": state, "projectId": "a-project", "location": "europe-west4"}
        self.answer(job if called.method.endswith("jobs.get") else {})

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


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Dataflow)
    server.calls, server.asked = [], Event()  # pyright: ignore[reportAttributeAccessIssue]
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_every_setting_reaches_dataflow_where_google_looks_for_it_and_its_counter_the_user(
    endpoint, storage, tmp_path, monkeypatch, capsys
):
    storage.create_dir("bucket")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "a-project")
    monkeypatch.setattr(google.auth, "default", lambda **_: (AnonymousCredentials(), "a-project"))
    given = [f"--{name}={value}" for name, value in SETTINGS.items()]
    given += ["--no_use_public_ips", "--no_auth", f"--dataflow_endpoint=http://localhost:{endpoint.server_port}"]
    options = runners.beam_options("dataflow", 1, given, tmp_path)
    flights = load_problem("flights")
    with runners.scratch_folder("dataflow", options, "key", tmp_path) as scratch:
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


@pytest.mark.parametrize("name", runners.NEEDED)
def test_a_setting_that_dataflow_needs_is_asked_for_by_name(tmp_path, name):
    given = [f"--{key}={value}" for key, value in SETTINGS.items() if key != name]
    with pytest.raises(InputError, match=f"--{name}"):
        runners.beam_options("dataflow", 1, given, tmp_path)


def test_another_runner_among_beams_options_is_refused_and_not_followed(tmp_path):
    with pytest.raises(InputError, match="'prism', and Beam's options name 'DirectRunner'"):
        runners.beam_options("prism", 1, ["--runner=DirectRunner"], tmp_path)


def test_prism_that_is_not_there_is_no_reason_to_run_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no prism on PATH"):
        runners.beam_options("prism", 1, [], tmp_path)
