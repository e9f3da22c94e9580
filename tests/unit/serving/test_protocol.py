"""Clients that do not finish what they begin."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from penstock_serving import protocol
from penstock_serving.bodies import Held, Share
from penstock_serving.errors import RequestError
from penstock_serving.messages import Headers, Respond, Response, read_body
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


class Quick:
    """Answers a POST to /quick by `predict`, with the body, a turn of the loop later; all else by ASGI."""

    shortcut = b"/quick"

    def __init__(self, in_flight: int = 0, held: int = 1 << 20) -> None:
        self.bodies: list[bytes] = []
        self.in_flight, self.held = in_flight, Held(held)

    def predict(self, headers: Headers, body: bytes, started: float, respond: Respond) -> None:
        """Remember the body, and answer it."""
        self.bodies.append(body)
        asyncio.get_running_loop().call_soon(respond, Response(body, content_type="text/quick"), body == b"bye")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """`by ASGI` and the beginning of the body, when it is here."""
        with Share(self.held) as share:
            body = await read_body(scope, receive, share)
        await Response(b"by ASGI: " + body[:9], content_type="text/slow").send(scope, send, closing=False)


def post(body: bytes, *headers: bytes, path: bytes = b"/quick") -> bytes:
    lines = (b"POST %b HTTP/1.1" % path, b"host: x", b"content-length: %d" % len(body), *headers, b"", body)
    return b"\r\n".join(lines)


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[tuple[asyncio.Server, list[PatientProtocol]]]:
    """A server of the application on a loopback port, and the protocols of its connections."""
    config = uvicorn.Config(
        app, lifespan="off", proxy_headers=False, log_config=None, log_level="warning", timeout_keep_alive=60
    )
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"now")]
    made: list[PatientProtocol] = []

    def connection() -> PatientProtocol:
        made.append(PatientProtocol(config=config, server_state=state, app_state={}))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    try:
        yield server, made
    finally:
        server.close()


async def talk(*parts: bytes, pause: float = 0.0, app: Any = app) -> bytes:
    """What a server says to these bytes, sent with pauses between them, until it closes or a second is over."""
    async with listening(app) as (server, _):
        return await asked(server, *parts, pause=pause)


async def asked(server: asyncio.Server, *parts: bytes, pause: float) -> bytes:
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


@pytest.mark.parametrize(
    "offer", [b"Upgrade: h2c\r\nHTTP2-Settings: AAMA", b"upgrade: websocket", b"UPGRADE: h2c", b"Upg|rade: h2c"]
)
def test_an_offered_upgrade_is_ignored_and_the_body_is_read(offer):
    request = WHOLE.replace(b"host: x", b"connection: upgrade, close\r\n" + offer)
    assert asyncio.run(talk(*request.split(b"|"), pause=0.05)).startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_upgrade_is_ignored_in_each_of_several_requests_and_its_body_may_come_later():
    offer = (b"connection: upgrade", b"upgrade: h2c")
    quick = Quick()
    sent = post(b"one") + post(b"two", *offer) + post(b"three", *offer)
    said = asyncio.run(talk(sent[:-5], sent[-5:], post(b"bye", *offer), pause=0.05, app=quick))
    assert [each.split(b"\r\n\r\n")[1] for each in said.split(b"HTTP/1.1 200 OK\r\n")[1:]] == [
        b"one", b"by ASGI: two", b"by ASGI: three", b"bye",
    ]  # fmt: skip


CHUNKED = b"POST /quick HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"


def test_headers_behind_a_body_are_not_heard():
    seen: list[Any] = []

    async def listen(scope: Any, receive: Any, _send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        seen.extend(scope["headers"])

    asyncio.run(talk(CHUNKED, b"content-encoding: br\r\n" * 100 + b"\r\n", pause=0.05, app=listen))
    assert seen == [(b"host", b"x"), (b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize("trailers", [b"a: b\r\n" * 5_000, b"a" * 30_000])
def test_headers_behind_a_body_without_end_are_431(trailers):
    said = asyncio.run(talk(CHUNKED, *[trailers] * 4, pause=0.05, app=Quick()))
    assert said.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


def test_a_large_body_in_chunks_is_not_taken_for_headers():
    sent = CHUNKED.replace(b"1\r\nx\r\n", b"7530\r\n" + b"x" * 30_000 + b"\r\n" + b"1\r\nx\r\n" * 20_000)
    sent = sent.replace(b"host: x", b"connection: close") + b"\r\n"
    parts = [sent[start : start + 10_000] for start in range(0, len(sent), 10_000)]
    assert asyncio.run(talk(*parts, pause=0.01, app=Quick())).endswith(b"by ASGI: xxxxxxxxx")


@pytest.mark.parametrize("next_", [(b"GARBAGE\r\n\r\n",), (b"POST / HTTP/1.1\r\nx: ", *[b"a" * 30_000] * 3)])
def test_a_refusal_is_never_taken_for_the_answer_to_the_request_before(monkeypatch, next_):
    quick = Quick()
    assert b" 400 " in asyncio.run(talk(post(b"one"), b"GARBAGE\r\n\r\n", pause=0.05, app=quick))
    monkeypatch.setattr(quick, "predict", lambda *_: None)
    assert asyncio.run(talk(post(b"one"), *next_, pause=0.05, app=quick)) == b""


def test_a_request_that_was_answered_before_its_body_came_is_not_answered_again(monkeypatch):
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)

    async def early(scope: Any, _receive: Any, send: Any) -> None:
        await Response(b"no", status=405).send(scope, send, closing=False)

    said = asyncio.run(talk(WHOLE[:-1], app=early))
    assert said.startswith(b"HTTP/1.1 405 ")
    assert said.count(b"HTTP/1.1 ") == 1


def test_what_the_protocol_refuses_is_told_to_the_application(monkeypatch):
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    told: list[int] = []

    class Counting(Quick):
        def refusal(self, error: RequestError) -> Response:
            """Count it."""
            told.append(error.status)
            return Response.of_error(error)

    large = post(b"x" * 3000)[:-1]
    for sent, held in ((b"GARBAGE\r\n\r\n", 1 << 20), (WHOLE[:-1], 1 << 20), (large, 100)):
        asyncio.run(talk(sent, app=Counting(held=held)))
    assert told == [400, 408, 503]


def test_a_connection_that_is_idle_between_requests_is_left_alone(monkeypatch):
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    assert asyncio.run(talk(WHOLE)) == b"open"


def test_a_request_in_parts_is_answered_when_it_ends_in_time(monkeypatch):
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.6)
    assert asyncio.run(talk(WHOLE[:20], WHOLE[20:-1], WHOLE[-1:], pause=0.1)) == b"open"


def test_a_small_post_to_the_shortcut_is_answered_without_asgi_and_the_connection_stays():
    quick = Quick()
    said = asyncio.run(talk(post(b"one"), post(b"two"), post(b"bye"), pause=0.05, app=quick))
    assert quick.bodies == [b"one", b"two", b"bye"]
    heads, bodies = zip(*(each.split(b"\r\n\r\n") for each in said.split(b"HTTP/1.1 200 OK\r\n")[1:]), strict=True)
    assert bodies == (b"one", b"two", b"bye")
    for head in heads:
        assert b"content-type: text/quick\r\n" in head
        assert b"content-length: 3" in head
        assert b"date: now\r\n" in head
    assert [b"connection: close" in head for head in heads] == [False, False, True]


def test_requests_sent_ahead_of_their_answers_are_answered_in_order():
    quick = Quick()
    said = asyncio.run(talk(post(b"one") + post(b"two") + post(b"bye", b"connection: close"), app=quick))
    assert quick.bodies == [b"one"], "what has to wait takes the long way"
    assert [said.index(body) for body in (b"one", b"by ASGI: two", b"by ASGI: bye")] == sorted(
        said.index(body) for body in (b"one", b"by ASGI: two", b"by ASGI: bye")
    )


def test_a_body_in_parts_reaches_the_shortcut_as_one():
    quick, whole = Quick(), post(b"0123456789", b"connection: close")
    said = asyncio.run(talk(whole[:-7], whole[-7:-3], whole[-3:], pause=0.05, app=quick))
    assert (quick.bodies, said[-10:]) == ([b"0123456789"], b"0123456789")
    assert b"connection: close\r\n" in said


@pytest.mark.parametrize(
    "request_",
    [
        post(b"x", b"connection: close", path=b"/quick?a=1"),
        post(b"x", b"connection: close", b"content-encoding: identity"),
        post(b"x", b"connection: close").replace(b"POST", b"PUT"),
        post(b"x").replace(b"HTTP/1.1", b"HTTP/1.0"),
        post(b"x" * protocol.LARGE_BODY, b"connection: close"),
        b"POST /quick HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_a_plain_small_post_takes_the_long_way(request_):
    quick = Quick()
    said = asyncio.run(talk(request_, app=quick))
    assert b"content-type: text/slow\r\n" in said
    assert b"\r\n\r\nby ASGI: x" in said
    assert quick.bodies == []


def test_among_many_requests_only_small_bodies_take_the_shortcut():
    crowded = Quick(in_flight=protocol.CROWD)
    for size in (protocol.SMALL_BODY, protocol.SMALL_BODY - 1):
        asyncio.run(talk(post(b"x" * size, b"connection: close"), app=crowded))
    assert [len(body) for body in crowded.bodies] == [protocol.SMALL_BODY - 1]


def test_what_is_held_of_incomplete_requests_is_limited_and_given_back_when_they_end(monkeypatch):
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    quick, whole = Quick(held=4000), post(b"x" * 3000, b"connection: close")
    assert asyncio.run(talk(whole[:-1], app=quick)).startswith(b"HTTP/1.1 408 ")
    assert asyncio.run(talk(whole[:50], whole[50:-1], whole[-1:], pause=0.02, app=quick)).endswith(b"x" * 3000)
    assert quick.held.bytes == 0
    quick.held.take(1500)
    said = asyncio.run(talk(whole[:-1], app=quick))
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in said
    assert b"are on their way already, the limit is 4000" in said
    assert quick.held.bytes == 1500


def test_an_answer_to_a_client_that_is_gone_is_dropped(monkeypatch):
    answers: list[Respond] = []
    quick = Quick()
    monkeypatch.setattr(quick, "predict", lambda _headers, _body, _started, respond: answers.append(respond))

    async def leave() -> None:
        assert await talk(post(b"one"), app=quick) == b"open"
        await asyncio.sleep(0.05)
        (respond,) = answers
        respond(Response(b"late"), False)

    asyncio.run(leave())


def test_a_client_that_takes_nothing_of_its_answer_is_let_go_and_a_slow_one_is_not(monkeypatch):
    monkeypatch.setattr(protocol, "UNREAD_SECONDS", 0.5)
    size = 4 << 20

    async def large(scope: Any, _receive: Any, send: Any) -> None:
        await Response(bytes(size)).send(scope, send, closing=True)

    async def ask(server: asyncio.Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1 << 16)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        return reader, writer

    async def taken(reader: asyncio.StreamReader, pause: float) -> int:
        """How much comes to a client that makes pauses."""
        found = 0
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 20):
                found += len(piece)
                await asyncio.sleep(pause)
        return found

    async def compare() -> None:
        async with listening(large) as (server, made):
            server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            deaf, unheard = await ask(server)
            slow, heard = await ask(server)
            assert await taken(slow, pause=0.05) > size
            while any(each in each.connections for each in made):
                await asyncio.sleep(0.02)
            assert await taken(deaf, pause=0) < size
            unheard.close()
            heard.close()

    asyncio.run(asyncio.wait_for(compare(), 20))


def test_requests_sent_ahead_of_their_answers_are_read_only_as_the_answers_go_out():
    count, ahead = 10_000, []
    request = b"GET / HTTP/1.1\r\nhost: x\r\nx-padding: %b\r\n\r\n" % (b"x" * 60)

    async def ask_all() -> bytes:
        async def empty(scope: Any, _receive: Any, send: Any) -> None:
            ahead.append(len(made[0].pipeline))
            await Response(b"").send(scope, send, closing=False)

        async with listening(empty) as (server, made):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(request * (count - 1) + request.replace(b"x-padding", b"connection: close\r\nx-padding"))
            said = await reader.read()
            writer.close()
            return said

    assert asyncio.run(ask_all()).count(b"HTTP/1.1 200 OK\r\n") == len(ahead) == count
    assert max(ahead) < count / 3, "a read's worth at a time"
