"""A client with a fixed rate: `python _open_loop.py PORT PATH BODY RATE OUTPUT`, until SIGTERM.

Requests leave by the clock, whatever becomes of those before them, and a latency counts from when its request was due:
a server that stops answering for a while is charged for all that was asked meanwhile. Connections are kept and used in
turn; where all are busy another is opened. The kernel is asked for short slices, as the server asks for them: a client
elsewhere would not wait for a processor that a starting worker has. OUTPUT gets one line a request: when it was due
(monotonic seconds), its latency in seconds, how much of that had passed when it was sent, and `ok` or what went wrong.
"""

import asyncio
import signal
import sys
import time
from collections import deque
from pathlib import Path
from typing import TextIO

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "serving"))
from penstock_serving.scheduling import answer_promptly

PATIENCE_SECONDS = 30.0


class Connection(asyncio.Protocol):
    """One connection, with at most one request on its way."""

    def __init__(self, load: "OpenLoop") -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._due: float | None = None
        self._late = 0.0
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, due: float) -> None:
        assert self._transport is not None
        self._due, self._late, self._answer = due, time.monotonic() - due, b""
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end or self._due is None:
            return
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) < int(headers[b"content-length"]):
            return
        status = head.split(b" ", 2)[1].decode()
        due, self._due = self._due, None
        self._load.done(due, self._late, "ok" if status == "200" else f"status {status}")
        if headers.get(b"connection") == b"close":
            assert self._transport is not None
            self._transport.close()
        else:
            self._load.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._load.idle:
            self._load.idle.remove(self)
        if self._due is not None:
            self._load.done(self._due, self._late, f"connection lost: {exc!r}")


class OpenLoop:
    """Sends by the clock and writes down what comes."""

    def __init__(self, port: int, request: bytes, output: TextIO) -> None:
        self.request, self._port, self._output = request, port, output
        self.idle: deque[Connection] = deque()
        self._pending: set[asyncio.Task[None]] = set()
        self.stopped = False

    async def run(self, rate: float) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(self, "stopped", True))
        due = time.monotonic()
        while not self.stopped:
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self.idle:
                self.idle.popleft().send(due)
            else:
                task = asyncio.create_task(self._connect(due))
                self._pending.add(task)
                task.add_done_callback(self._pending.discard)
        await asyncio.sleep(1)

    def done(self, due: float, late: float, outcome: str) -> None:
        self._output.write(f"{due:.6f}\t{time.monotonic() - due:.6f}\t{late:.6f}\t{outcome}\n")

    async def _connect(self, due: float) -> None:
        try:
            connecting = asyncio.get_running_loop().create_connection(lambda: Connection(self), "127.0.0.1", self._port)
            _, connection = await asyncio.wait_for(connecting, PATIENCE_SECONDS)
        except (OSError, asyncio.TimeoutError) as exc:
            self.done(due, time.monotonic() - due, f"no connection: {exc!r}")
        else:
            connection.send(due)


def main() -> None:
    port, path, body, rate, output = sys.argv[1:]
    answer_promptly()
    content = Path(body).read_bytes()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: benchmark\r\ncontent-type: application/json\r\ncontent-length: {len(content)}"
    )
    with Path(output).open("w") as out:
        asyncio.run(OpenLoop(int(port), f"{head}\r\n\r\n".encode() + content, out).run(float(rate)))


if __name__ == "__main__":
    main()
