"""What runs on this machine after `make up`, seen from outside by the checks that `penstock verify` ships."""

import json
import re
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import asyncssh
import pytest


@pytest.fixture(scope="module", autouse=True)
def _up(served):
    """The stack as it was, whatever a test before it left."""
    served.configure()
    served.run("up")


@pytest.fixture
def model(served) -> Path:
    """The folder of the model that is served."""
    return Path(served.deployment()["flow-train-model"]["outputs"]["path"])


def test_verify_finds_nothing_wrong_with_the_running_stack(served):
    said = served.operate("verify")
    assert re.search(r"\b12 passed, 1 skipped", said), said


def test_verify_names_the_file_of_the_model_that_was_changed(served, model):
    card, text = model / "card.html", (model / "card.html").read_text()
    card.write_text(text + " ")
    try:
        said = served.operate("verify", expected=1)
    finally:
        card.write_text(text)
    assert "'card.html'" in said
    assert re.search(r"\b1 failed, 11 passed", said), said


def test_verify_finds_a_port_that_is_open_to_others(served):
    with closing(socket.socket(socket.AF_INET6)) as public:
        public.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        public.bind(("::", served.port))
        public.listen()
        said = served.operate("verify", expected=1)
    assert "test_the_port_is_open_on_the_loopback_address_only[local] FAILED" in said
    assert re.search(r"\b1 failed, 11 passed", said), said


def test_verify_finds_another_model_and_fewer_workers_than_the_state_says(served):
    server, digest = served.deployment()["flow-serve-server"]["outputs"], "sha256:" + "0" * 64
    text = served.state_file.read_text()
    state = json.loads(text)
    outputs = {
        each["urn"].rpartition("::")[2]: each["outputs"]
        for each in state["checkpoint"]["latest"]["resources"]
        if "outputs" in each
    }
    outputs[f"penstock-{served.stack}"]["model_digest"] = digest
    outputs["flow-serve-server"] |= {"min_replicas": 2, "max_replicas": 2}
    served.state_file.write_text(json.dumps(state))
    try:
        said = served.operate("verify", expected=1)
    finally:
        served.state_file.write_text(text)
    assert "test_there_are_as_many_workers_as_the_range_says[local] FAILED" in said
    assert "test_it_serves_a_model_that_the_stack_says[local] FAILED" in said
    assert digest in said
    assert server["digest"] in said
    assert re.search(r"\b2 failed, 9 passed, 2 skipped", said), said


def test_only_the_endpoint_s_processes_are_left(served):
    assert served.strays() == {}
    assert len(served.processes()) == 2


def test_state_and_passphrase_are_private_to_the_user(served):
    assert (served.root / ".penstock/passphrase").stat().st_mode & 0o777 == 0o600


@pytest.fixture
def ssh(tmp_path):
    """OpenSSH's configuration for `box`: a server on the loopback address that takes this test's key alone."""
    if shutil.which("ssh") is None:
        pytest.skip("NOT RUN: there is no ssh on this machine")
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "user")
    (tmp_path / "user").chmod(0o600)
    (tmp_path / "authorized").write_bytes(key.export_public_key())
    command = [sys.executable, Path(__file__).with_name("ssh_server.py"), tmp_path / "authorized"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    known = {"HostName": "127.0.0.1", "Port": server.stdout.readline().strip(), "IdentityFile": tmp_path / "user"}
    known |= {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR"}
    lines = [f"  {name} {value}\n" for name, value in known.items()]
    (tmp_path / "config").write_text("".join(["Host box\n", *lines]))
    yield tmp_path / "config"
    server.terminate()
    server.wait()
    server.stdout.close()


def test_verify_asks_a_machine_by_ssh(served, ssh):
    said = served.operate("verify", "--host", f"ssh://box?ssh_config={ssh}")
    assert re.search(r"\b12 passed, 1 skipped", said), said
    assert "[ssh://box" in said
