"""Clients that do not finish what they begin."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from penstock_serving import protocol
from penstock_serving.protocol import PatientProtocol

WHOLE = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"


async def app(_scope: Any, receive: Any, send: Any) -> None:
    """200 once the body of `{}` is complete."""
    body = b""
    while (event := await receive()).get("more_body"):
        body += event["body"]
    if event["type"] == "http.request":
        assert body + event["body"] == b"{}"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


async def talk(*parts: bytes, pause: float = 0.0) -> bytes:
    """What a server says to these bytes, sent with pauses between them, until it closes or a second is over."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, log_level="warning", timeout_keep_alive=60)
    config.load()
    state = ServerState()

    def connection() -> PatientProtocol:
        return PatientProtocol(config=config, server_state=state, app_state={})

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for part in parts:
        writer.write(part)
        await asyncio.sleep(pause)
    said = b""
    try:
        said = await asyncio.wait_for(reader.readuntil(b"never"), 1.0)
    except asyncio.IncompleteReadError as exc:
        said = exc.partial
    except asyncio.TimeoutError:
        said = b"open"
    writer.close()
    await writer.wait_closed()
    server.close()
    return said


@pytest.mark.parametrize("unfinished", [b"", b"POST / HTTP/1.1\r\nho", WHOLE[:-1], WHOLE + b"POST / HT"])
def test_a_request_that_never_ends_is_408_and_the_connection_is_closed(monkeypatch, unfinished):
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    said = asyncio.run(talk(unfinished))
    assert b"HTTP/1.1 408 Request Timeout\r\n" in said
    assert said.endswith(b'{"error":"the request did not arrive within 0.2 seconds"}')


@pytest.mark.parametrize("start", [b"POST /", WHOLE + b"POST / HTTP/1.1\r\nx: "])
def test_headers_without_end_are_431(start):
    said = asyncio.run(talk(start, *[b"a" * 30_000] * 4, pause=0.05))
    assert b"HTTP/1.1 431 Request Header Fields Too Large\r\n" in said


@pytest.mark.parametrize("offer", [b"Upgrade: h2c\r\nHTTP2-Settings: AAMA", b"upgrade: websocket"])
def test_an_offered_upgrade_is_ignored_and_the_body_is_read(offer):
    request = WHOLE.replace(b"host: x", b"connection: upgrade, close\r\n" + offer)
    assert asyncio.run(talk(request)).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_connection_that_is_idle_between_requests_is_left_alone(monkeypatch):
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    assert asyncio.run(talk(WHOLE)) == b"open"


def test_a_request_in_parts_is_answered_when_it_ends_in_time(monkeypatch):
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.6)
    assert asyncio.run(talk(WHOLE[:20], WHOLE[20:-1], WHOLE[-1:], pause=0.1)) == b"open"
