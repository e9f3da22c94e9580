"""What `penstock status` says of an endpoint of this machine that is in trouble."""

import os
import socket
import subprocess

import psutil
import pytest

from penstock.command import status
from penstock.command.state import State
from penstock.local.identity import ProcessIdentity


@pytest.fixture
def endpoint(tmp_path):
    """The endpoint whose supervisor is a process, as status tells of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def told(pid):
        identity = ProcessIdentity.of(pid)
        assert identity is not None
        outputs = {"pid": pid, "started": identity.started, "url": f"http://127.0.0.1:{port}"}
        outputs |= {"min_replicas": 1, "max_replicas": 1, "program": ["python"], "model_name": "toy"}
        outputs |= {"folder": str(tmp_path)}
        service = {"urn": "urn::server", "type": "x:LocalService", "outputs": outputs}
        found = status.endpoint(State("local", {"resources": [service]}))
        assert found is not None
        return found

    return told


def test_a_server_that_does_not_answer_is_told_in_words(endpoint):
    # A supervisor with one worker: this process, and what it starts.
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            said = endpoint(os.getpid()).state
        finally:
            child.kill()
    assert f"workers {child.pid}" in said
    assert "it does not answer: " in said
    assert "refused" in said


def test_a_supervisor_that_goes_between_two_questions_is_gone(endpoint, monkeypatch):
    def gone(self, *_):
        raise psutil.NoSuchProcess(self.pid)

    monkeypatch.setattr(psutil.Process, "children", gone)
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            said = endpoint(child.pid).state
        finally:
            child.kill()
    assert said == f"its supervisor (pid {child.pid}) is gone; `up` starts it again"
