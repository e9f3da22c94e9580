"""HTTP/1.1 that does not wait for ever: a request that starts must arrive whole within a time."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock_serving.errors import TooSlowError
from penstock_serving.messages import Response

REQUEST_SECONDS = 30.0
"""From the connection, or the first byte of a later request, to the last byte of its body."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, and a clock that runs while a request is incomplete."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._incomplete = True
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Start the clock: a client that connects has something to say."""
        super().connection_made(transport)
        self._clock = self.loop.call_later(REQUEST_SECONDS, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Stop the clock when a request is complete, start it when one is not; most arrive whole and never start it."""
        super().data_received(data)
        if not self._incomplete:
            self._stop_clock()
        elif self._clock is None:
            self._clock = self.loop.call_later(REQUEST_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, and so is the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """The parser has seen the first byte of a request."""
        self._incomplete = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """The parser has seen the last byte of a request."""
        self._incomplete = False
        super().on_message_complete()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _too_slow(self) -> None:
        """Say so, unless an answer is on its way already, and close: the request's handler finds its client gone."""
        self._clock = None
        if self.transport.is_closing():
            return
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            body = Response.of_error(
                TooSlowError(f"the request did not arrive within {REQUEST_SECONDS:g} seconds")
            ).body
            head = f"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()
