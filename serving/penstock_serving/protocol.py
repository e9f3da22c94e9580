"""HTTP/1.1 that neither waits nor reads for ever: a request that starts must arrive whole within a time."""

import asyncio
import http
import re
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from penstock_serving.errors import HeadersTooLargeError, RequestError, TooSlowError
from penstock_serving.messages import WHOLE, Headers, Response

REQUEST_SECONDS = 30.0
"""From the connection, or the first byte of a later request, to the last byte of its body."""
HEADERS_LIMIT = 64 * 1024
UPGRADE = re.compile(rb"\r\nupgrade:[^\r]*", re.IGNORECASE)


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, a clock that runs while a request is incomplete, and a limit to its headers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._incomplete = True
        self._in_headers = True
        self._header_bytes = 0
        self._clock: asyncio.TimerHandle | None = None
        self._answering: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Start the clock: a client that connects has something to say."""
        super().connection_made(transport)
        self._clock = self.loop.call_later(REQUEST_SECONDS, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Stop the clock when a request is complete, start it when one is not; most arrive whole and never start it."""
        if self._in_headers and b"pgrade:" in data:
            # Java's client offers HTTP/2 with every request; the parser would take that for accepted and drop the body.
            headers, end, body = data.partition(b"\r\n\r\n")
            data = UPGRADE.sub(b"", headers) + end + body
        super().data_received(data)
        if not self._incomplete:
            self._stop_clock()
        elif self._clock is None:
            self._clock = self.loop.call_later(REQUEST_SECONDS, self._too_slow)
        if self._incomplete and self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > HEADERS_LIMIT:
                self._refuse(HeadersTooLargeError(f"the headers have over {HEADERS_LIMIT} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, and so are the clock and what it asked for."""
        self._stop_clock()
        self.pipeline.clear()
        if self._answering is not None:  # uvicorn marks the last request it read, which need not be the one it answers
            self._answering.disconnected = True
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """The parser has seen the first byte of a request."""
        self._incomplete = self._in_headers = True
        self._header_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The parser has seen the last byte of a request's headers."""
        self._in_headers = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The parser has seen the last byte of a request."""
        self._incomplete = False
        self._in_headers = True
        super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answering = cycle
        cycle.scope[WHOLE] = partial(self._answer, cycle)
        super()._start_asgi_task(cycle, app)

    def _answer(self, cycle: Any, status: int, headers: Headers, body: bytes) -> bool:
        """Write an answer as one piece, at half the cost of uvicorn's two messages; False where those are needed."""
        if cycle.disconnected or cycle.response_started or self.flow.write_paused or cycle.scope["method"] == "HEAD":
            return False
        if (b"connection", b"close") in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers.append((b"connection", b"close"))
        lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _too_slow(self) -> None:
        self._clock = None
        self._refuse(TooSlowError(f"the request did not arrive within {REQUEST_SECONDS:g} seconds"))

    def _refuse(self, error: RequestError) -> None:
        """Say so, unless an answer is on its way already, and close: the request's handler finds its client gone."""
        if self.transport.is_closing():
            return
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            body = Response.of_error(error).body
            head = (
                f"HTTP/1.1 {error.status} {http.HTTPStatus(error.status).phrase}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()
