"""Holds requests for an endpoint that has no replica, and passes them on as soon as there is one.

    python -m penstock_serving.activator --to HOST:PORT --host 127.0.0.1 --port PORT --metrics-port PORT

It passes bytes, whatever they say. A connection on which something has arrived, and which no replica takes yet, counts
as waiting (`penstock_activator_waiting`): by that, whoever scales the endpoint starts a replica. After `--patience`
seconds, or beyond `--most` that wait at once, it is answered 503 with Retry-After. SIGTERM: take nothing new, end when
what is open has ended.
"""

import argparse
import asyncio
import json
import signal
from contextlib import suppress

import uvloop
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

PURPOSE = "Holds requests for an endpoint that has no replica, and passes them on as soon as there is one."
CHUNK = 65536
RETRY_SECONDS = 0.1
CONNECT_SECONDS = 2.0
RETRY_AFTER_SECONDS = 10
DRAIN_SECONDS = 30.0


class Activator:
    """The connections to one endpoint."""

    def __init__(self, host: str, port: int, patience: float = 300.0, most: int = 1024) -> None:
        """`host`, `port`: where its replicas are reached; `patience`: seconds that a connection waits for one."""
        self._host, self._port, self._patience, self._most = host, port, patience, most
        self._open: set[asyncio.Task[None]] = set()
        self.waiting = 0
        self.registry = CollectorRegistry()
        waiting = Gauge("penstock_activator_waiting", "Connections that wait for a replica.", registry=self.registry)
        waiting.set_function(lambda: self.waiting)
        self._refused = Counter("penstock_activator_refused", "Connections answered 503.", registry=self.registry)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, from beginning to end."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(OSError):
                # One on which nothing was asked yet starts no replica.
                if first := await reader.read(CHUNK):
                    await self._passed(first, reader, writer)
        finally:
            self._open.discard(task)
            writer.close()

    async def drain(self) -> None:
        """Wait for the end of what is open."""
        if self._open:
            await asyncio.wait(self._open, timeout=DRAIN_SECONDS)

    async def _passed(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found = await self._replica(reader)
        if found is None:
            await self._refuse(reader, writer)
            return
        answering, asking = found
        asking.write(first)
        asked = asyncio.create_task(_pass(reader, asking))
        try:
            await _copy(answering, writer)
        finally:
            asked.cancel()
            asking.close()

    async def _replica(self, client: asyncio.StreamReader) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to a replica; None where there is none in time, or nobody waits for it any more."""
        with suppress(OSError, asyncio.TimeoutError):
            return await self._connected()
        if self.waiting >= self._most:
            return None
        self.waiting += 1
        try:
            loop = asyncio.get_running_loop()
            last = loop.time() + self._patience
            while loop.time() < last and not client.at_eof():
                await asyncio.sleep(RETRY_SECONDS)
                with suppress(OSError, asyncio.TimeoutError):
                    return await self._connected()
        finally:
            self.waiting -= 1
        return None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.wait_for(asyncio.open_connection(self._host, self._port), CONNECT_SECONDS)

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._refused.inc()
        body = json.dumps({"error": "no replica of the endpoint has come in time; ask again later"}).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"retry-after: {RETRY_AFTER_SECONDS}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        writer.write_eof()
        # What has come besides is read: closing on it would reset the connection, and the answer with it.
        with suppress(asyncio.TimeoutError):
            while await asyncio.wait_for(reader.read(CHUNK), CONNECT_SECONDS):
                pass


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await _copy(source, target)
        target.write_eof()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while part := await source.read(CHUNK):
        target.write(part)
        await target.drain()


async def run(activator: Activator, host: str, port: int) -> None:
    """Serve until SIGTERM."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    server = await asyncio.start_server(activator.serve, host, port, backlog=2048)
    await ended.wait()
    server.close()
    await activator.drain()


def main(arguments: list[str] | None = None) -> None:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m penstock_serving.activator", description=PURPOSE)
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="where the replicas are reached")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--metrics-port", type=int, required=True, help="port of the metrics")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds that a request waits (%(default)s)")
    parser.add_argument("--most", type=int, default=1024, help="requests that wait at once (default: %(default)s)")
    asked = parser.parse_args(arguments)
    host, _, port = asked.to.rpartition(":")
    if not host or not port.isdigit():
        parser.error(f"--to is {asked.to!r}; it takes HOST:PORT")
    activator = Activator(host, int(port), asked.patience, asked.most)
    start_http_server(asked.metrics_port, asked.host, activator.registry)
    uvloop.run(run(activator, asked.host, asked.port))


if __name__ == "__main__":
    main()
