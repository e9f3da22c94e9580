import http.server
import json
import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cluster.certificates import Authority

from penstock.errors import ServiceFailed
from penstock.local import engine, ports, server, service
from penstock.local.identity import ProcessIdentity

# They are meant to outlive whoever started them.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

SUPERVISOR = """
import http.server, json, os, pathlib, signal, socket, sys, threading
value = lambda name: sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None
folder, plan = pathlib.Path(value("--folder")), pathlib.Path(value("--plan"))
status = folder / f"status.{os.getpid()}.json"
if "refuse" in sys.argv:
    print("starting"); print("error: the seal is broken: weights.bin", file=sys.stderr); sys.exit(2)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", int(value("--port"))), Handler, bind_and_activate=False)
if value("--succeed"):
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(value("--succeed"))
        server.socket.close()
        server.socket = socket.socket(fileno=socket.recv_fds(asked, 1, 1)[1][0])
else:
    server.server_bind(); server.server_activate()
path = f"/tmp/penstock-test-{os.getpid()}"
handover = socket.socket(socket.AF_UNIX); handover.bind(path); handover.listen()
def hand_over():
    while True:
        with handover.accept()[0] as to: socket.send_fds(to, [b"."], [server.socket.fileno()])
threading.Thread(target=hand_over, daemon=True).start()
def read(*_):
    planned, bad = json.loads(plan.read_text()), None
    if planned["latest"] == "2": bad = {"revision": planned["revision"], "version": "2", "error": "x.bin is forged"}
    said = {"revision": "" if bad else planned["revision"], "refused": bad, "ready": 1, "handover": path}
    temporary = folder / f"{os.getpid()}"; temporary.write_text(json.dumps(said)); temporary.replace(status)
signal.signal(signal.SIGHUP, read)
def end(*_):
    status.unlink(); os.unlink(path); os._exit(0)
signal.signal(signal.SIGTERM, end)
read()
while True: server.handle_request()
"""
PROPS = {"traffic": None, "rollout": None, "min_replicas": 1.0, "max_replicas": 1.0, "idle_seconds": 300.0}


class Service:
    """One service of a provider, on tiny supervisors."""

    def __init__(self, folder: Path) -> None:
        self.provider = service.LocalServiceProvider()
        self.port = ports.free_ports("127.0.0.1", 1)[0]
        self.folder = folder
        self.started: list[dict[str, Any]] = []

    def props(self, answer: str = "ready", **changed: Any) -> dict[str, Any]:
        """What the program asks for; numbers as the engine hands them over."""
        files = {name: str(self.folder / name) for name in ("log", "record", "folder")}
        where = {"host": "127.0.0.1", "port": float(self.port), "probe": "/", "cwd": str(self.folder)}
        model = {"path": "/models/1", "digest": "sha256:1111111111", "model_name": "flights"}
        program = {"program": [sys.executable, "-c", SUPERVISOR, answer], "fingerprint": "f", "name": "s", "urn": ""}
        return {**PROPS, **files, **where, **model, **program, **changed}

    def create(self, props: dict[str, Any]) -> dict[str, Any]:
        """Starts it; what the state then holds."""
        self.started.append(self.provider.create(props).outs or {})
        return self.started[-1]

    def update(self, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
        """Changes it."""
        self.started.append(self.provider.update("s", olds, news).outs or {})
        return self.started[-1]

    def changed(self, olds: dict[str, Any], news: dict[str, Any]) -> bool:
        """Whether the next `up` would change it."""
        return bool(self.provider.diff("s", olds, news).changes)

    def plan(self) -> dict[str, Any]:
        """What its supervisor was told last."""
        return json.loads((self.folder / "folder/plan.json").read_text())


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    """A service; whatever it started is ended afterwards."""
    made = Service(tmp_path)
    yield made
    for outs in made.started:
        identity(outs).end(grace_seconds=2)


def identity(outs: dict[str, Any]) -> ProcessIdentity:
    return ProcessIdentity(int(outs["pid"]), float(outs["started"]))


def test_a_service_is_ready_when_it_is_made_unchanged_after_and_gone_with_its_files_when_deleted(running):
    outs = running.create(running.props())
    assert server.Address("127.0.0.1", running.port, "/").ready(timeout_seconds=1)
    assert not running.changed(outs, running.props())
    running.provider.delete("s", outs)
    assert not identity(outs).alive()
    assert not server.Address("127.0.0.1", running.port, "/").ready(timeout_seconds=1)
    assert [path.name for path in running.folder.iterdir()] == ["log"]


def test_a_server_that_refuses_to_start_is_told_in_its_own_words_with_its_log(running):
    with pytest.raises(ServiceFailed, match=r"the seal is broken: weights.bin\nlog: .*log"):
        running.create(running.props("refuse"))
    assert not (running.folder / "record").exists()


def test_a_used_port_is_told_with_its_holder_and_the_way_out(running):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", running.port))
        taken.listen()
        with pytest.raises(ServiceFailed) as caught:
            running.create(running.props())
    told = str(caught.value)
    assert f"port {running.port}" in told
    assert f"(pid {os.getpid()})" in told
    assert "pulumi config set port" in told


def test_changed_code_is_served_by_a_successor_on_the_same_socket(running):
    outs = running.create(running.props())
    news = running.props(fingerprint="g")
    assert running.changed(outs, news)
    after = running.update(outs, news)
    assert after["pid"] != outs["pid"]
    assert not identity(outs).alive()
    assert server.Address("127.0.0.1", running.port, "/").ready(timeout_seconds=1)


def test_changed_traffic_is_followed_by_the_same_process(running):
    outs = running.create(running.props())
    news = running.props(traffic={"latest": 100.0})
    assert running.changed(outs, news)
    assert running.update(outs, news)["pid"] == outs["pid"]
    assert running.plan()["traffic"] == {"1": 100.0}


def test_a_refused_model_fails_with_the_reason_and_leaves_plan_process_and_numbers_as_they_were(running):
    outs = running.create(running.props())
    before = running.plan()
    with pytest.raises(
        ServiceFailed, match=r"version 2 was refused, and what was served before goes on: x.bin is forg"
    ):
        running.update(outs, running.props(path="/models/2", digest="sha256:2222222222"))
    assert running.plan() == before
    assert identity(outs).alive()
    assert [version["number"] for version in json.loads((running.folder / "folder/versions.json").read_text())] == [1]


def test_a_dead_server_is_a_difference_and_started_again(running):
    outs = running.create(running.props())
    identity(outs).end(grace_seconds=5)
    assert running.changed(outs, running.props())
    assert identity(running.update(outs, running.props())).alive()


def test_an_endpoint_with_tls_is_asked_over_it_whoever_has_signed_its_certificate(tmp_path):
    authority = Authority(tmp_path / "authority")
    authority.sign("server", "server", addresses=("127.0.0.1",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "authority/server.crt", tmp_path / "authority/server.key")
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as answering:
        answering.socket = context.wrap_socket(answering.socket, server_side=True)
        threading.Thread(target=answering.handle_request).start()
        address = server.Address("127.0.0.1", answering.server_port, "/", tls=True)
        assert address.url == f"https://127.0.0.1:{answering.server_port}"
        assert address.ready(timeout_seconds=5)


def test_a_server_left_by_a_killed_run_is_found_by_its_record_and_ended(running):
    left = running.create(running.props())
    assert server.recorded(running.folder / "record") == identity(left)
    assert server.recorded(running.folder / "other") is None
    running.create(running.props())
    assert not identity(left).alive()


def test_what_a_killed_run_put_in_a_servers_place_is_found_though_the_state_tells_of_the_old_one(running):
    state = running.create(running.props())
    successor = running.update(state, running.props(fingerprint="g"))
    again = running.update(state, running.props(fingerprint="h"))
    assert not identity(successor).alive()
    assert identity(again).alive()
    running.provider.delete("s", state)
    assert not identity(again).alive()


def test_the_engines_death_ends_a_first_server_whose_start_it_may_not_have_noted_and_spares_a_successor(
    running, monkeypatch
):
    on_death = []
    monkeypatch.setattr(engine, "_on_death", on_death)
    outs = running.create(running.props())
    successor = running.update(outs, running.props(fingerprint="g"))
    assert len(on_death) == 1
    on_death[0]()
    assert identity(successor).alive()
    first = running.create(running.props())
    for action in on_death:
        action()
    assert not identity(first).alive()


def test_ports_of_a_cluster_are_free_distinct_and_below_the_ephemeral_range():
    found = ports.free_ports("127.0.0.1", 20)
    assert len(set(found)) == 20
    assert all(1024 < port < 32_768 and ports.is_free("127.0.0.1", port) for port in found)


def test_this_process_has_an_identity_and_a_free_pid_has_none():
    assert ProcessIdentity.of(os.getpid()) is not None
    assert ProcessIdentity.of(2**22 - 3) is None
