"""The model behind the URL is changed by one line of configuration, with the real CLI, under load."""

import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project, remove


class Client(threading.Thread):
    """Asks for predictions over one connection, ten times a second, and must always be answered."""

    def __init__(self, project) -> None:
        super().__init__()
        model = Path(project.deployment()["flow-train-model"]["outputs"]["path"])
        self._body = json.dumps({"instances": json.loads((model / "samples.json").read_text())["instances"][:2]})
        self._path = "/v1/models/flights:predict"
        self._port = project.port
        self._leaving = threading.Event()
        self.lost: list[str] = []
        self.digests: list[str] = []
        self.start()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        while not self._leaving.wait(0.1):
            try:
                connection.request("POST", self._path, self._body)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as exc:
                self.lost.append(repr(exc))
                return
            if answer.status != 200:
                self.lost.append(f"status {answer.status}")
            self.digests.append(str(answer.headers["x-model-digest"]))
        connection.close()

    def end(self) -> "Client":
        """Ask no more."""
        self._leaving.set()
        self.join()
        return self


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Project]:
    """A project of its own: other tests need not know which model these leave it with, and how it was trained."""
    made = Project(tmp_path_factory.mktemp("traffic"), strategy="local", trials=1)
    made.run("up")
    yield made
    remove(made)


@pytest.fixture(scope="module")
def two_models(served) -> dict[str, str]:
    """The digests of the stack's model before and after a changed feature, of which the first is still served."""
    served.configure(traffic="1")
    served.run("up")
    digests = {"1": served.outputs()["model_digest"]}
    text = served.problem.read_text()
    changed = re.sub(r"(Bucketized\(\"weekday\", buckets=7), dimension=2\)", r"\1, dimension=4)", text)
    assert changed != text
    served.problem.write_text(changed)
    served.run("up")
    digests["2"] = served.outputs()["model_digest"]
    return digests


def supervisor(project) -> int:
    return int(project.deployment()["flow-serve-server"]["outputs"]["pid"])


def shares(project) -> dict[str, Any]:
    return {number: version["share"] for number, version in project.get("/traffic")["versions"].items()}


def test_a_new_model_is_trained_but_not_served_while_the_traffic_is_anothers(served, two_models):
    assert two_models["1"] != two_models["2"]
    assert served.get("/attestation")["digest"] == two_models["1"]
    assert shares(served) == {"1": 1.0}


def test_one_line_shadows_splits_promotes_and_rolls_back_and_no_request_is_lost(served, two_models):
    process, client = supervisor(served), Client(served)
    served.configure(traffic={"latest": 0, "previous": 100})
    served.run("up")
    deadline = time.monotonic() + 60
    while not (comparison := served.get("/traffic")["comparison"]) or comparison["compared"] < 5:
        assert time.monotonic() < deadline, served.get("/traffic")
        time.sleep(0.1)
    assert (comparison["version"], comparison["failed"]) == ("2", 0)
    assert comparison["largest_difference"] > 0, "the shadow has answered as the other model does"
    assert shares(served) == {"1": 1.0, "2": 0.0}
    assert {*client.digests} == {two_models["1"]}, "the shadow has answered a client"
    served.configure(traffic={"latest": 30, "previous": 70})
    served.run("up")
    assert shares(served) == {"1": 0.7, "2": 0.3}
    unchanged = served.run("up")
    assert not re.search(r"\d+ (created|updated|deleted|replaced)", unchanged)
    served.configure(traffic="latest")
    served.run("up")
    assert served.get("/attestation")["digest"] == two_models["2"]
    served.configure(traffic="previous")
    served.run("up")
    assert served.get("/attestation")["digest"] == two_models["1"]
    time.sleep(0.5)
    assert client.end().lost == []
    assert {client.digests[0], client.digests[-1]} == {two_models["1"]}
    assert two_models["2"] in client.digests
    assert supervisor(served) == process


def test_a_tampered_model_fails_the_up_with_its_file_and_the_one_before_it_goes_on(served, two_models):
    model = Path(served.deployment()["flow-train-model"]["outputs"]["path"])
    schema, text = model / "schema.json", (model / "schema.json").read_text()
    client = Client(served)
    schema.write_text(text + " ")
    served.configure(traffic="2")
    output = served.run("up", expected=1)
    schema.write_text(text)
    assert "version 2 was refused, and what was served before goes on" in output
    assert f"{schema} has digest sha256:" in output
    assert "Traceback" not in output
    assert served.get("/attestation")["digest"] == two_models["1"]
    (refused,) = [each for each in served.get("")["model_version_status"] if each["state"] == "END"]
    assert refused["version"] == "2"
    assert str(schema) in refused["status"]["error_message"]
    served.run("up")
    assert served.get("/attestation")["digest"] == two_models["2"]
    assert client.end().lost == []


def test_an_unknown_version_is_told_with_those_that_are_known(served, two_models):
    served.configure(traffic="7")
    output = served.run("up", expected=1)
    assert "'traffic' names '7'" in output
    assert "the endpoint knows 1 (" in output
    assert served.get("/attestation")["digest"] == two_models["2"]


def test_the_command_rolls_back_and_promotes_by_one_line_and_refuses_a_version_that_is_not_known(served, two_models):
    lines = served.root / "stacks/Pulumi.local.yaml"
    said = served.operate("rollback")
    assert f"version 2, {two_models['2']}, answers everything" in said, "7 is nobody's, and never answered"
    said = served.operate("rollback", "--up")
    assert f"version 1, {two_models['1']}, answers everything" in said
    assert "LocalService flow-serve-server (update)" in said
    assert served.get("/attestation")["digest"] == two_models["1"]
    before = lines.read_text()
    assert "nothing answered in stack local before model 1" in served.operate("rollback", expected=1)
    assert lines.read_text() == before

    said = served.operate("promote")
    assert "traffic is latest (it was 1)" in said
    assert f"version 2, {two_models['2']}, answers everything" in said
    assert served.get("/attestation")["digest"] == two_models["1"], "only `up` changes what is served"

    before = lines.read_text()
    assert "the endpoint knows 1 (" in served.operate("promote", "7", expected=1)
    assert lines.read_text() == before
    served.configure(traffic="2")
    served.run("up")
    status = served.operate("status")
    assert f"version 2  {two_models['2'].removeprefix('sha256:')[:12]}  100%" in status


def test_a_declared_rollout_goes_by_itself_through_the_shadow_to_all_traffic(served, two_models):
    served.configure(traffic="1")
    served.run("up")
    client = Client(served)
    gates = {"errors": 1, "latency": 1000, "score_shift": 1000, "skew": 1000}
    served.configure(rollout={"steps": [0, 50, 100], "step_seconds": 0, "step_requests": 3, **gates})
    served.run("up")
    deadline = time.monotonic() + 120
    while served.get("/traffic")["rollout"]["stable"] != "2":
        assert time.monotonic() < deadline, served.get("/traffic")
        time.sleep(0.1)
    events = served.get("/traffic")["rollout"]["events"]
    assert [(event["event"], event["version"], event["why"]) for event in events[-3:]] == [
        ("begun", "2", "0 %"),
        ("advanced", "2", "50 %"),
        ("promoted", "2", "100 %"),
    ]
    assert served.get("/attestation")["digest"] == two_models["2"]
    time.sleep(0.5)
    assert client.end().lost == []
    assert (client.digests[0], client.digests[-1]) == (two_models["1"], two_models["2"])


def test_without_requests_there_is_no_worker_and_the_first_request_is_held_and_answered(served, two_models):
    served.configure(min_replicas=0, idle_seconds=1)
    served.run("up")
    await_none(served)
    output = served.run("up")
    assert not re.search(r"\d+ (created|updated|deleted|replaced)", output)
    assert workers(served) == []
    client = Client(served)
    while not client.digests and client.is_alive():
        time.sleep(0.1)
    assert client.end().lost == []
    served.configure()
    served.run("up")


def workers(project) -> list[str]:
    return [line for line in project.processes().values() if "-m penstock_serving.worker" in line]


def await_none(project) -> None:
    """Wait until the last worker has gone."""
    deadline = time.monotonic() + 60
    while workers(project):
        assert time.monotonic() < deadline, workers(project)
        time.sleep(0.1)
