"""Alerts reach a real HTTP server: once, after failures too, and never in anyone's way."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from penstock_serving.skew.alert import Alert
from penstock_serving.skew.arguments import webhook_of
from penstock_trainer.errors import InputError


class Receiver(HTTPServer):
    """Remembers what is posted; answers with the codes in `codes`, then with 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.posted: list[dict] = []
        self.codes: list[int] = []
        self.hold = threading.Event()
        self.hold.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?secret=s3cret"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.hold.wait(20)
        code = self.server.codes.pop(0) if self.server.codes else 200
        if code == 200:
            self.server.posted.append(json.loads(body))
        self.send_response(code)
        self.end_headers()

    def log_message(self, format, *args) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def tell(alert: Alert, *columns: str, moved: str = "") -> None:
    thread = alert.tell(list(columns), {"columns": columns}, moved)
    assert thread is not None
    thread.join(20)
    assert not thread.is_alive()


def test_skew_is_told_once_again_when_it_spreads_and_when_it_is_over(receiver, tmp_path):
    alert = Alert(receiver.url, tmp_path / "state.json")
    for columns in ((), ("a",), ("a",), ("a", "b"), ("b",), (), ()):
        tell(alert, *columns)
    assert [message["columns"] for message in receiver.posted] == [["a"], ["a", "b"], []]


def test_a_column_that_was_told_is_over_when_it_is_quiet_and_not_while_it_has_moved(receiver, tmp_path):
    """A late window can join those in a row to one, so that a column counts as moved for the first time again."""
    alert = Alert(receiver.url, tmp_path / "state.json")
    tell(alert, "a")
    tell(alert, moved="a")
    tell(alert, "b", moved="a")
    tell(alert, "a", "b")
    assert [message["columns"] for message in receiver.posted] == [["a"], ["b"]]
    tell(alert, moved="c")
    assert [message["columns"] for message in receiver.posted] == [["a"], ["b"], []]


@pytest.mark.parametrize("shared", [True, False])
def test_a_restart_tells_nothing_twice_where_there_is_a_folder(receiver, tmp_path, shared):
    state = tmp_path / "state.json" if shared else None
    for _ in range(2):
        tell(Alert(receiver.url, state), "a")
    assert len(receiver.posted) == (1 if shared else 2)


def test_a_failure_is_tried_again_and_then_told_once(receiver, tmp_path, caplog):
    receiver.codes = [503, 500]
    alert = Alert(receiver.url, tmp_path / "state.json", pauses=(0.01, 0.01, 0.01))
    tell(alert, "a")
    assert [message["columns"] for message in receiver.posted] == [["a"]]
    assert (alert.delivered, alert.failed) == (1, 2)
    assert "s3cret" not in caplog.text + str([record.__dict__ for record in caplog.records])


@pytest.mark.parametrize("path", ["/hook?secret=s3cret", "/hooks/s3cret token"])
def test_what_is_no_http_or_no_url_is_a_failure_like_another_and_says_no_secret(path, caplog, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            with server.accept()[0] as connection:
                connection.recv(9999)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        threading.Thread(target=greet, daemon=True).start()
        alert = Alert(f"http://127.0.0.1:{server.getsockname()[1]}{path}", None, pauses=())
        tell(alert, "a")
    assert (alert.delivered, alert.failed) == (0, 1)
    assert "s3cret" not in caplog.text + str([record.__dict__ for record in caplog.records]) + capsys.readouterr().err


@pytest.mark.parametrize("url", ["hooks.example/s3cret", "http://hooks.example/s3cret token", "https://x/s3cret\n"])
def test_a_webhook_that_is_no_url_is_refused_and_not_told(url):
    with pytest.raises(InputError, match="PENSTOCK_ALERT_WEBHOOK is no URL that begins with") as refused:
        webhook_of({"PENSTOCK_ALERT_WEBHOOK": url})
    assert "s3cret" not in str(refused.value)
    assert webhook_of({"PENSTOCK_ALERT_WEBHOOK": ""}) is None


def test_what_could_not_be_delivered_is_told_with_the_next_window(receiver, tmp_path):
    receiver.codes = [503, 503]
    alert = Alert(receiver.url, tmp_path / "state.json", pauses=(0.01,))
    tell(alert, "a")
    assert receiver.posted == []
    tell(alert, "a")
    assert [message["columns"] for message in receiver.posted] == [["a"]]


def test_telling_returns_at_once_and_two_processes_tell_once(receiver, tmp_path):
    receiver.hold.clear()
    first, second = (Alert(receiver.url, tmp_path / "state.json") for _ in range(2))
    thread = first.tell(["a"], {"columns": ["a"]})
    assert thread is not None
    assert first.tell(["a"], {"columns": ["a"]}) is None
    deadline = time.monotonic() + 10
    while not (tmp_path / "state.lock").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)
    tell(second, "a")
    receiver.hold.set()
    thread.join(20)
    tell(second, "a")
    assert [message["columns"] for message in receiver.posted] == [["a"]]
