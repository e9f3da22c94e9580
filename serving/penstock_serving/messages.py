"""Requests and responses as the routes see them; ASGI's events stay in here."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec

from penstock_serving.errors import RequestError, TooLargeError, UnsupportedEncodingError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Headers = list[tuple[bytes, bytes]]

WHOLE = "penstock.answer"
"""In a request's scope: what writes a whole answer at once, given it and whether it closes the connection, and says
whether it did.
"""
BODY_LIMIT = 8 * 1024 * 1024
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


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body of a request.

    Raises:
        TooLargeError: it is, or announces to be, larger than BODY_LIMIT.
        UnsupportedEncodingError: it is compressed.
        ClientGoneError: the connection ended before the body did.
    """
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.lower() != b"identity":
            raise UnsupportedEncodingError(f"content-encoding {value.decode('latin-1')[:40]!r}: post the body as it is")
        if name == b"content-length" and int(value) > BODY_LIMIT:
            raise _too_large(f"{int(value)} bytes")
    chunks: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = event.get("body", b"")
        size += len(chunk)
        if size > BODY_LIMIT:
            raise _too_large(f"over {BODY_LIMIT} bytes")
        chunks.append(chunk)
        if not event.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(size: str) -> TooLargeError:
    return TooLargeError(f"the body has {size}, the limit is {BODY_LIMIT}: post fewer rows at a time")
