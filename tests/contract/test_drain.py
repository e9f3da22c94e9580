"""A server's beginning and end: it answers from its first moment, and SIGTERM loses nothing."""

import threading
import time

import httpx

SLOWLY = ("--backend", "tensorflow")
"""Loads in seconds: time enough to ask, or to stop it, meanwhile."""


def test_it_is_alive_while_it_loads_and_a_request_is_held_rather_than_refused(serve, load):
    server = serve("half_plus_three", *SLOWLY)
    assert server.client.get("/healthz").status_code == 200
    loading = server.client.get("/readyz")
    assert (loading.status_code, loading.json()) == (503, {"status": "loading"})
    assert server.client.get("/v1/models/half_plus_three").json()["model_version_status"][0]["state"] == "LOADING"
    assert server.predict(load.BODY).json() == load.ANSWER
    assert server.client.get("/readyz").status_code == 200

    clients = [load(server.port) for _ in range(8)]
    time.sleep(1.5)
    assert server.end() == 0
    for client in clients:
        client.join()
    assert [client.lost for client in clients] == [[]] * 8
    assert min(client.answered for client in clients) > 10


def test_a_server_stopped_while_loading_says_so_to_those_who_wait_and_exits_0(serve, load):
    server = serve("half_plus_three", *SLOWLY)
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(server.predict(load.BODY)))
    waiting.start()
    time.sleep(0.2)
    assert server.end() == 0
    waiting.join()
    assert answers[0].status_code == 503
    assert "retry-after" in answers[0].headers


def test_a_successor_takes_over_the_port_once_it_is_ready_without_a_lost_request(serve, load):
    first = serve("half_plus_three", *SLOWLY).wait_until_ready()
    clients = [load(first.port) for _ in range(8)]
    second = serve("half_plus_three", *SLOWLY, "--port", str(first.port))
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
