"""A server's beginning and end: it answers from its first moment, and SIGTERM loses nothing."""

import json
import socket
import threading
import time

import httpx

BODY = {"instances": [1.0, 2.0, 5.0]}
ANSWER = {"predictions": [3.5, 4.0, 5.5]}
PATH = "/v1/models/half_plus_three:predict"


class Load(threading.Thread):
    """A client that posts over one keep-alive connection, opening another when told to, until no one listens."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.answered = 0
        self.lost: list[str] = []
        self.start()

    def run(self) -> None:
        body = json.dumps(BODY).encode()
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            except ConnectionRefusedError:
                return
            with connection, connection.makefile("rb") as answers:
                closing = False
                while not closing:
                    try:
                        connection.sendall(head.encode() + body)
                        closing = self.read(answers)
                    except OSError as exc:
                        self.lost.append(repr(exc))
                        return

    def read(self, answers) -> bool:
        """Take one answer; whether the server asked for this connection to be closed."""
        status = answers.readline()
        if not status:
            raise OSError("closed without an answer")
        headers = dict(line.strip().lower().split(b": ", 1) for line in iter(answers.readline, b"\r\n"))
        if b" 200 " not in status or json.loads(answers.read(int(headers[b"content-length"]))) != ANSWER:
            raise OSError(f"answered {status!r}")
        self.answered += 1
        return headers.get(b"connection") == b"close"


def test_it_is_alive_while_it_loads_and_a_request_is_held_rather_than_refused(serve):
    server = serve("half_plus_three")
    assert server.client.get("/healthz").status_code == 200
    loading = server.client.get("/readyz")
    assert (loading.status_code, loading.json()) == (503, {"status": "loading"})
    assert server.client.get("/v1/models/half_plus_three").json()["model_version_status"][0]["state"] == "LOADING"
    assert server.predict(BODY).json() == ANSWER
    assert server.client.get("/readyz").status_code == 200

    clients = [Load(server.port) for _ in range(8)]
    time.sleep(1.5)
    began = time.monotonic()
    assert server.end() == 0
    assert time.monotonic() - began < 8
    for client in clients:
        client.join()
    assert [client.lost for client in clients] == [[]] * 8
    assert min(client.answered for client in clients) > 10


def test_a_server_stopped_while_loading_says_so_to_those_who_wait_and_exits_0(serve):
    server = serve("half_plus_three")
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(server.predict(BODY)))
    waiting.start()
    time.sleep(0.2)
    assert server.end() == 0
    waiting.join()
    assert answers[0].status_code == 503
    assert "retry-after" in answers[0].headers


def test_a_successor_takes_over_the_port_once_it_is_ready_without_a_lost_request(serve):
    first = serve("half_plus_three").wait_until_ready()
    clients = [Load(first.port) for _ in range(8)]
    second = serve("half_plus_three", "--port", str(first.port))
    while '"event": "listening"' not in second.log:  # asking the port would ask either of them
        assert httpx.get(f"{first.url}/readyz").status_code == 200
        time.sleep(0.05)
    time.sleep(0.5)
    assert first.end() == 0
    answered = sum(client.answered for client in clients)
    deadline = time.monotonic() + 30
    while sum(client.answered for client in clients) < answered + 100:
        assert time.monotonic() < deadline, [client.lost for client in clients]
        time.sleep(0.01)
    assert second.end() == 0
    for client in clients:
        client.join()
    assert [client.lost for client in clients] == [[]] * 8
