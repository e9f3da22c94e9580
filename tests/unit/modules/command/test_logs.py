from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from penstock.command import app
from penstock.command.logs import Tail, cluster
from penstock.command.state import State
from penstock.errors import PenstockError


def test_the_last_lines_are_shown_and_then_those_that_come(tmp_path):
    log = tmp_path / "chief-0.log"
    log.write_text("one\ntwo\nthree\n")
    tail = Tail(log)
    assert tail.last(2) == ["two", "three"]
    assert tail.new() == []
    with log.open("a") as file:
        file.write("four\nfi")
    assert tail.new() == ["four"]
    with log.open("a") as file:
        file.write("ve\n")
    assert tail.new() == ["five"]


def test_a_line_that_is_not_finished_is_shown_once_it_is(tmp_path):
    log = tmp_path / "chief-0.log"
    log.write_text("one\ntw")
    tail = Tail(log)
    assert tail.last(9) == ["one"]
    with log.open("a") as file:
        file.write("o\n")
    assert tail.new() == ["two"]


def test_a_log_that_is_gone_or_written_anew_is_shown_from_its_beginning(tmp_path):
    log = tmp_path / "chief-0.log"
    log.write_text("one\ntwo\nthree\n")
    tail = Tail(log)
    tail.last(0)
    log.unlink()
    assert tail.new() == []
    log.write_text("again\n")
    assert tail.new() == ["again"]


def test_no_line_is_asked_for(tmp_path):
    log = tmp_path / "chief-0.log"
    log.write_text("one\n")
    assert Tail(log).last(0) == []


KUBECONFIG = "apiVersion: v1\nkind: Config\ncurrent-context: gke\n"
JOB = {"urn": "urn::flow-train-model-result", "type": "pulumi-python:dynamic/penstock:JobResult"}
MADE = {"kubeconfig": KUBECONFIG, "context": "", "namespace": "penstock", "job_set": "flow-train-model-abc"}
CLOUD_RUN = {"name": "penstock-dev", "location": "europe-west1", "project": "acme"}
SERVER = {"urn": "urn::server", "type": "gcp:cloudrunv2/service:Service", "outputs": CLOUD_RUN}


def test_the_jobs_of_a_stack_on_google_cloud_are_shown_by_kubectl_with_a_kubeconfig_of_its_own(kubectl, monkeypatch):
    state = State("dev", {"resources": [{**JOB, "outputs": MADE}, SERVER]})
    monkeypatch.setattr(app, "_deployed", lambda _stack: SimpleNamespace(state=state))
    with pytest.raises(typer.Exit) as end:
        app.logs("train", "chief", "dev", 5, False)
    assert end.value.exit_code == 0
    asked = (kubectl / "asked").read_text().split()
    assert asked[2:5] == ["logs", "--prefix", "--tail"]
    assert asked[-4:-2] == ["-n", "penstock"]
    selector = "jobset.sigs.k8s.io/jobset-name=flow-train-model-abc,jobset.sigs.k8s.io/replicatedjob-name=chief"
    assert asked[-1] == selector
    assert (kubectl / "kubeconfig").read_text() == KUBECONFIG
    assert (kubectl / "mode").read_text().strip() == "600"
    assert not Path(asked[1]).exists(), "nothing of it is left"


def test_the_log_of_an_endpoint_on_cloud_run_is_told_with_the_command_that_shows_it(kubectl):
    state = State("dev", {"resources": [{**JOB, "outputs": MADE}, SERVER]})
    with pytest.raises(PenstockError, match="read penstock-dev --region europe-west1 --project acme"):
        cluster(state, "server", None, 5, False)
    assert not (kubectl / "asked").exists()


def test_a_job_that_is_made_for_the_first_time_is_found_by_what_it_is_made_with(kubectl):
    begun = {"type": "creating", "resource": {**JOB, "inputs": MADE}}
    state = State("dev", {"pending_operations": [begun]})
    assert [job.begun for job in state.jobs] == ["creating"]
    assert cluster(state, "train", None, 5, False) == 0
    assert "flow-train-model-abc" in (kubectl / "asked").read_text()
