"""HTTP/1.1 that neither waits nor reads for ever: a request that starts must arrive whole within a time."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sized
from functools import partial
from typing import Any, ClassVar

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock_serving.asking import LARGE_BODY
from penstock_serving.bodies import Held
from penstock_serving.errors import HeadersTooLargeError, RequestError, TooSlowError
from penstock_serving.messages import WHOLE, Response

REQUEST_SECONDS = 30.0
"""From the connection, or the first byte of a later request, to the last byte of its body."""
UNREAD_SECONDS = 30.0
"""For so long a client may take nothing of the answers that wait for it."""
HEADERS_LIMIT = 64 * 1024
NO_SHORTCUT = frozenset([b"content-encoding", b"transfer-encoding", b"expect", b"upgrade", b"x-request-timeout"])
"""A request with any of these headers takes the long way."""
SMALL_BODY, CROWD = 4 * 1024, 256
"""Where so many requests are in flight, one whose body is not small takes the long way too, where its bytes count."""
UNHEARD: Any = deque(maxlen=0)
"""Where the headers go that follow a body: it keeps none."""


class Shortcut:
    """A request that the application answers without ASGI, as uvicorn's protocol sees it."""

    message_event: ClassVar = threading.Event()
    """Nobody waits for it."""
    __slots__ = ("body", "disconnected", "keep_alive", "more_body", "response_complete", "response_started", "started")

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive, self.more_body, self.body = keep_alive, True, b""
        self.disconnected = self.response_started = self.response_complete = False
        self.started = time.perf_counter()


class Flow(FlowControl):
    """uvicorn's reads on with every answer, however many requests wait for theirs by then; this one does not."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        """`waiting`: the requests that were sent ahead of their answers."""
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, unless there is more to answer already."""
        if not self._waiting:
            super().resume_reading()


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, a clock that runs while a request is incomplete or an answer unread, and a limit to headers.

    What an application with a `shortcut` can answer without ASGI is given to its `predict`: that is half the cost.
    """

    app: Any
    cycle: Any
    parser: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shortcut: bytes | None = getattr(self.app, "shortcut", None)
        self._incomplete = True
        self._in_headers = True
        self._mixed = False
        """Whether the bytes that came last are of more than headers, or of more than one request's."""
        self._header_bytes = 0
        """Of headers, before the body or after it."""
        self._clock: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._answering: Any = None
        self._held: Held = getattr(self.app, "held", None) or Held()
        self._refusal: Callable[[RequestError], Response] = getattr(self.app, "refusal", Response.of_error)
        self._holds = 0
        """Of that, for the request that is not complete."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Start the clock: a client that connects has something to say."""
        super().connection_made(transport)
        self.flow = Flow(transport, self.pipeline)
        self._clock = self.loop.call_later(REQUEST_SECONDS, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Stop the clock when a request is complete, start it when one is not; most arrive whole and never start it."""
        self._mixed = False
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except HttpParserError as exc:
            self._refuse(RequestError(f"this is no HTTP request: {exc}"))
            return
        if not self._incomplete:
            self._stop_clock()
        else:
            self._await_more(len(data))

    def _feed(self, data: bytes) -> None:
        """Parse; a request that offers to upgrade once more without that, as the parser drops its body.

        Java's client offers HTTP/2 with every request.
        """
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
            except HttpParserUpgrade as offer:
                rest = memoryview(rest)[offer.args[0] :]
                if self._offers_upgrade():
                    head = self._head_without_offer()
                    # The one before may hear nothing more: after `connection: close`.
                    self.parser = HttpRequestParser(self)
                    self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                    self.parser.feed_data(head)
            else:
                return

    def _offers_upgrade(self) -> bool:
        """Whether the request whose headers are here would go on in another protocol, but may go on in this one."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _head_without_offer(self) -> bytes:
        parser = self.parser
        first = b"%b %b HTTP/%b" % (parser.get_method(), self.url, parser.get_http_version().encode())
        lines = (b"%b: %b" % header for header in self.headers if header[0] != b"upgrade")
        return b"\r\n".join((first, *lines, b"", b""))

    def _await_more(self, size: int) -> None:
        """So many bytes of a request are here, and it is not complete."""
        if self._clock is None:
            self._clock = self.loop.call_later(REQUEST_SECONDS, self._too_slow)
        if self._in_headers or type(self.cycle) is not Shortcut:
            if not self._mixed:
                self._header_bytes += size
            if self._header_bytes > HEADERS_LIMIT:
                self._refuse(HeadersTooLargeError(f"the headers have over {HEADERS_LIMIT} bytes"))
                return
            if not self._in_headers:
                return  # whoever reads that body counts it
        try:
            self._held.take(size)
        except RequestError as exc:
            self._refuse(exc)
        else:
            self._holds += size

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, and so are the clock and what it asked for."""
        self._stop_clock()
        self._stop_waiting()
        self.pipeline.clear()
        if self._answering is not None:  # uvicorn marks the last request it read, which need not be the one it answers
            self._answering.disconnected = True
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Answers wait for the client to take them: start to look whether it does."""
        super().pause_writing()
        self._await_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has taken them."""
        super().resume_writing()
        self._stop_waiting()

    def _await_reader(self, size: int) -> None:
        self._unread = self.loop.call_later(UNREAD_SECONDS, self._look_at_reader, size)

    def _look_at_reader(self, before: int) -> None:
        """Go on waiting if it has taken some of the bytes that waited before, else let it go."""
        size = self.transport.get_write_buffer_size()
        if size < before:
            self._await_reader(size)
        else:
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def on_message_begin(self) -> None:
        """The parser has seen the first byte of a request."""
        self._incomplete = self._in_headers = self._mixed = True
        self._header_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The parser has seen the last byte of a request's headers."""
        if self.url == self._shortcut and self._is_plain():
            self.cycle = self._answering = Shortcut(self.parser.should_keep_alive())
        elif self._offers_upgrade():
            return  # they come again
        else:
            super().on_headers_complete()
        self._in_headers = False

    def on_body(self, body: bytes) -> None:
        """The parser has seen a piece of a request's body."""
        if type(self.cycle) is Shortcut:
            self.cycle.body += body
        else:
            self._mixed, self._header_bytes = True, 0
            super().on_body(body)

    def on_chunk_header(self) -> None:
        """The parser has seen the size of a body's next piece; after the last one, headers may follow."""
        self.headers = UNHEARD

    def on_message_complete(self) -> None:
        """The parser has seen the last byte of a request."""
        if self._in_headers:
            return  # of one that offers to upgrade
        self._incomplete = False
        self._in_headers = True
        cycle = self.cycle
        if type(cycle) is Shortcut:
            cycle.more_body = False
            self.app.predict(self.headers, cycle.body, cycle.started, partial(self._write, cycle))
        else:
            super().on_message_complete()

    def _is_plain(self) -> bool:
        """Whether the request whose headers are here is a small POST, and no other is to be answered before it."""
        if self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1" or self.flow.write_paused:
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        length = LARGE_BODY
        for name, value in self.headers:
            if name == b"content-length":
                length = int(value)
            elif name in NO_SHORTCUT:
                return False
        return length < SMALL_BODY or (length < LARGE_BODY and self.app.in_flight < CROWD)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answering = cycle
        cycle.scope[WHOLE] = partial(self._answer, cycle)
        super()._start_asgi_task(cycle, app)

    def _answer(self, cycle: Any, response: Response, closing: bool) -> bool:
        """Write an answer as one piece, at half the cost of uvicorn's two messages; False where those are needed."""
        if cycle.response_started or self.flow.write_paused or cycle.scope["method"] == "HEAD":
            return False
        self._write(cycle, response, closing)
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        return True

    def _write(self, cycle: Any, response: Response, closing: bool) -> None:
        """The answer to a request, unless its client is gone; then the next request may be answered."""
        if cycle.disconnected:
            return
        if closing:
            cycle.keep_alive = False
        lines = [b"%b: %b\r\n" % each for each in self.server_state.default_headers]
        lines.append(b"content-length: %d\r\n" % len(response.body))
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        self.transport.write(b"".join((response.head, *lines, b"\r\n", response.body)))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
            self._held.give(self._holds)
            self._holds = 0

    def _too_slow(self) -> None:
        self._stop_clock()
        self._refuse(TooSlowError(f"the request did not arrive within {REQUEST_SECONDS:g} seconds"))

    def _refuse(self, error: RequestError) -> None:
        """Say so, if it is this request's turn and it has no answer, and close: its handler finds the client gone."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if self._in_headers:  # it has no cycle yet
            unanswered = cycle is None or cycle.response_complete
        else:
            unanswered = cycle is self._answering and not cycle.response_started
            cycle.disconnected = True
        if unanswered:
            response = self._refusal(error)
            lines = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(response.body)
            self.transport.write(response.head + lines + response.body)
        self.transport.close()
