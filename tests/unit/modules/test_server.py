import os
import socket
import sys
from contextlib import closing

import pytest

from penstock.errors import ServiceFailed
from penstock.local import ports, server, service
from penstock.local.identity import ProcessIdentity

# They are meant to outlive whoever started them.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

SERVER = """
import http.server, os, socket, sys, time
answer = sys.argv[1]
port = int(sys.argv[sys.argv.index("--port") + 1])
if answer == "refuse":
    print("starting"); print("error: the seal is broken: weights.bin", file=sys.stderr); sys.exit(2)
class Server(http.server.HTTPServer):
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = time.monotonic() - began > 1
        self.send_response(200 if ready else 503); self.end_headers(); self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *args): pass
began = time.monotonic()
Server(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def start(tmp_path):
    """Starts a tiny server by the real code; all are ended afterwards."""
    started = []

    def begin(address, answer="ready", replaced=None):
        files = {"log": tmp_path / "logs/server.log", "record": tmp_path / "services/server.json", "cwd": tmp_path}
        command = [sys.executable, "-c", SERVER, answer]
        identity = server.start(command, address, replaced=replaced, **files)
        started.append(identity)
        return identity

    yield begin
    for identity in started:
        identity.end(grace_seconds=2)


@pytest.fixture
def address():
    return server.Address("127.0.0.1", ports.free_ports("127.0.0.1", 1)[0], "/readyz")


def test_a_server_is_ready_when_start_returns_and_gone_with_its_port_when_ended(start, address):
    identity = start(address)
    assert address.ready(timeout_seconds=1)
    identity.end(grace_seconds=5)
    assert not identity.alive()
    assert ports.is_free(address.host, address.port)


def test_a_server_that_refuses_to_start_is_told_in_its_own_words_with_its_log(start, address):
    with pytest.raises(ServiceFailed, match=r"the seal is broken: weights.bin\nlog: .*server.log"):
        start(address, "refuse")


def test_a_used_port_is_told_with_its_holder_and_the_way_out(start, address):
    with closing(socket.socket()) as taken:
        taken.bind((address.host, address.port))
        taken.listen()
        with pytest.raises(ServiceFailed) as caught:
            start(address)
    told = str(caught.value)
    assert f"port {address.port}" in told
    assert f"(pid {os.getpid()})" in told
    assert "pulumi config set port" in told


def test_a_successor_shares_the_port_and_is_ready_before_the_old_server_is_asked_to_go(start, address):
    old = start(address)
    new = start(address, replaced=old)
    assert old.alive()
    assert ports.listens(new.pid, address.port)
    old.end(grace_seconds=5)
    assert address.ready(timeout_seconds=1)


def test_a_dead_server_is_a_difference(start, address):
    identity = start(address)
    outs = {"pid": float(identity.pid), "started": identity.started, "host": address.host, "probe": "/readyz"}
    outs |= {"port": float(address.port), "command": ["x"], "fingerprint": "f"}
    provider = service.LocalServiceProvider()
    assert not provider.diff("id", outs, outs).changes
    identity.end(grace_seconds=5)
    assert provider.diff("id", outs, outs).changes


def test_a_server_left_by_a_killed_run_is_found_by_its_record(start, address, tmp_path):
    identity = start(address)
    assert server.recorded(tmp_path / "services/server.json") == identity
    assert server.recorded(tmp_path / "services/other.json") is None


def test_ports_of_a_cluster_are_free_distinct_and_below_the_ephemeral_range():
    found = ports.free_ports("127.0.0.1", 20)
    assert len(set(found)) == 20
    assert all(1024 < port < 32_768 and ports.is_free("127.0.0.1", port) for port in found)


def test_this_process_has_an_identity_and_a_free_pid_has_none():
    assert ProcessIdentity.of(os.getpid()) is not None
    assert ProcessIdentity.of(2**22 - 3) is None
