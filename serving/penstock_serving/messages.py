"""Requests and responses as the routes see them; ASGI's events stay in here."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec

from penstock_serving import bodies
from penstock_serving.bodies import BODY_LIMIT, Share
from penstock_serving.errors import RequestError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Headers = list[tuple[bytes, bytes]]

WHOLE = "penstock.answer"
"""In a request's scope: what writes a whole answer at once, given it and whether it closes the connection, and says
whether it did.
"""
JSON = "application/json"
encode = msgspec.json.Encoder().encode


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete: there is no one to answer."""


@dataclass
class Response:
    """One answer."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, headers: dict[str, str] | None = None) -> "Response":
        """`value` as JSON."""
        return cls(encode(value), headers=headers or {})

    @classmethod
    def of_error(cls, error: RequestError) -> "Response":
        """`{"error": message}` with the error's status and headers."""
        return cls(encode({"error": str(error)}), status=error.status, headers=error.headers)

    @property
    def head(self) -> bytes:
        """The status line and all headers but those that the server adds."""
        return _head(self.status, self.content_type, tuple(self.headers.items()))

    async def send(self, scope: Scope, send: Send, closing: bool) -> None:
        """Hand the answer to the server; `closing` tells the client to open another connection for its next request."""
        if WHOLE in scope and scope[WHOLE](self, closing):
            return
        headers: Headers = [
            (b"content-type", self.content_type.encode()),
            (b"content-length", str(len(self.body)).encode()),
            *((name.encode(), value.encode()) for name, value in self.headers.items()),
        ]
        if closing:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


Respond = Callable[[Response, bool], None]
"""Takes an answer, and whether the client is to open another connection for its next request."""


@lru_cache(256)
def _head(status: int, content_type: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    lines = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"content-type: {content_type}",
        *map(": ".join, headers),
    )
    return "\r\n".join((*lines, "")).encode()


def header(headers: Headers, wanted: bytes) -> bytes | None:
    """The value of a request's first header of this name, in lower case."""
    return next((value for name, value in headers if name == wanted), None)


async def read_body(scope: Scope, receive: Receive, share: Share) -> bytes:
    """The whole body of a request, unpacked; `share` holds what has come of it.

    Raises:
        TooLargeError: it is, or announces to be, larger than BODY_LIMIT.
        UnsupportedEncodingError: it is compressed in another way than gzip.
        UnavailableError: the server holds too much of other requests.
        ClientGoneError: the connection ended before the body did.
    """
    encodings: list[bytes] = []
    for name, value in scope["headers"]:
        if name == b"content-encoding":
            encodings.append(value)
        if name == b"content-length" and int(value) > BODY_LIMIT:
            raise bodies.too_large(f"{int(value)} bytes")
    if not bodies.packed(b", ".join(encodings)):
        return await _whole(receive, share)
    body = await _whole(receive, share)
    unpacked = await asyncio.get_running_loop().run_in_executor(bodies.BESIDE, bodies.inflate, body)
    share.take(len(unpacked))
    return unpacked


async def packed_for(headers: Headers, response: Response) -> Response:
    """An answer as gzip, where it is large and the request with these headers takes that."""
    if len(response.body) < bodies.GZIP_FROM:
        return response
    response.headers["vary"] = "accept-encoding"
    if bodies.wants_gzip(header(headers, b"accept-encoding")):
        response.body = await asyncio.get_running_loop().run_in_executor(bodies.BESIDE, bodies.deflate, response.body)
        response.headers["content-encoding"] = "gzip"
    return response


async def _whole(receive: Receive, share: Share) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = event.get("body", b"")
        size += len(chunk)
        if size > BODY_LIMIT:
            raise bodies.too_large(f"over {BODY_LIMIT} bytes")
        share.take(len(chunk))
        chunks.append(chunk)
        if not event.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
