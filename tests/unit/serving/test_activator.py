"""Requests that come before there is a replica, over real sockets."""

import asyncio
import re
from contextlib import asynccontextmanager

from prometheus_client import generate_latest

from penstock_serving.activator import Activator

ASKED = b"POST /v1/models/flights:predict HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Replica:
    """A replica that can come and go on one port."""

    def __init__(self):
        self.seen = []

    async def come(self, port=0):
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def go(self):
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader, writer):
        while asked := await reader.read(1 << 20):
            self.seen.append(asked)
            writer.write(ANSWER)
        writer.close()


@asynccontextmanager
async def in_front(replica, **limits):
    activator = Activator("127.0.0.1", replica.port, **limits)
    server = await asyncio.start_server(activator.serve, "127.0.0.1", 0)
    yield activator, server.sockets[0].getsockname()[1]
    server.close()
    await replica.go()
    await activator.drain()
    await asyncio.sleep(0)


async def ask(port, said=ASKED):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    answer = await reader.read(1 << 20)
    writer.close()
    return answer


async def until(holds):
    async def wait():
        while not holds():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), 30)


async def gone():
    replica = Replica()
    await replica.come()
    await replica.go()
    return replica


def told(activator):
    (count,) = re.findall(r"^penstock_activator_waiting (.+)$", generate_latest(activator.registry).decode(), re.M)
    return float(count)


def test_a_request_at_zero_is_held_and_counted_and_answered_by_the_replica_that_comes():
    async def check():
        replica = await gone()
        async with in_front(replica) as (activator, port):
            silent = await asyncio.open_connection("127.0.0.1", port)
            held = [asyncio.create_task(ask(port)) for _ in range(3)]
            await until(lambda: told(activator) == 3)
            await replica.come(replica.port)
            assert await asyncio.gather(*held) == [ANSWER] * 3
            assert replica.seen == [ASKED] * 3
            assert told(activator) == 0, "one that says nothing wakes nobody"
            silent[1].close()

    asyncio.run(check())


def test_a_connection_is_kept_for_what_comes_later():
    async def check():
        replica = Replica()
        await replica.come()
        async with in_front(replica) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(3):
                writer.write(ASKED)
                assert await reader.readexactly(len(ANSWER)) == ANSWER
            writer.close()
            assert len(replica.seen) == 3

    asyncio.run(check())


def test_who_waits_too_long_and_who_is_one_too_many_are_told_to_come_later():
    async def check():
        replica = await gone()
        async with in_front(replica, patience=0.5, most=1) as (activator, port):
            first = asyncio.create_task(ask(port))
            await until(lambda: told(activator) == 1)
            large = ASKED + b" " * 3_000_000
            for answer in (await ask(port, large), await first):
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"retry-after: 10\r\n" in answer
            assert b"penstock_activator_refused_total 2.0" in generate_latest(activator.registry)

    asyncio.run(check())


def test_nobody_waits_for_a_client_that_has_left():
    async def check():
        replica = await gone()
        async with in_front(replica) as (activator, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ASKED)
            await until(lambda: told(activator) == 1)
            writer.close()
            await until(lambda: told(activator) == 0)

    asyncio.run(check())
