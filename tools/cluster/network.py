"""The network that nodes and pods are on: a network namespace of its own, with a bridge and no way out.

Run as a process, `python -m cluster.network`: the namespace lives as long as it does. Two ways lead across, both by it:
the nodes' to the API server, and the API server's to the kubelets.
"""

import argparse
import asyncio
import ctypes
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

GATEWAY = "10.123.0.1"
"""The bridge: here nodes find the API server and pods find their names."""
SERVER_PORT = 6443
SERVICES = "10.96.0.0/16"
"""The addresses of Services."""
BRIDGE = "br0"
CLONE_NEWNET = 0x40000000
CHUNK = 1 << 16


def node_address(index: int) -> str:
    """A node's address on the bridge."""
    return f"10.123.0.{10 + index}"


def pod_range(index: int) -> str:
    """The addresses of a node's pods."""
    return f"10.244.{index}.0/24"


async def serve(server_port: int, proxy: Path) -> None:
    """Makes the namespace the calling thread's own, and carries what comes."""
    loop = asyncio.get_running_loop()
    # This thread is started before the namespace is left, and stays in the old one.
    outside = ThreadPoolExecutor(1)
    await loop.run_in_executor(outside, os.getpid)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace could be made")
    _make_bridge()

    async def to_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made = await loop.run_in_executor(outside, socket.socket)
        made.setblocking(False)
        await loop.sock_connect(made, ("127.0.0.1", server_port))
        await _carry((reader, writer), await asyncio.open_connection(sock=made))

    async def to_node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The API server asks as of any HTTP proxy: CONNECT host:port.
        asked = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
        host, _, port = asked.rpartition(":")
        other = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _carry((reader, writer), other)

    await asyncio.start_server(_forgiving(to_server), GATEWAY, SERVER_PORT)
    # Whoever waits for this file finds all of it ready.
    await asyncio.start_unix_server(_forgiving(to_node), proxy)
    await asyncio.Event().wait()


def _make_bridge() -> None:
    for command in (
        ("link", "set", "lo", "up"),
        ("link", "add", BRIDGE, "type", "bridge"),
        ("address", "add", f"{GATEWAY}/24", "dev", BRIDGE),
        ("link", "set", BRIDGE, "up"),
    ):
        subprocess.run(["ip", *command], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _forgiving(handle):
    """A connection that fails ends alone: a node that is away is no fault of the network."""

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    return handled


async def _carry(one: tuple, other: tuple) -> None:
    async def one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            writer.close()

    try:
        await asyncio.gather(one_way(one[0], other[1]), one_way(other[0], one[1]))
    finally:
        other[1].close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--server-port", type=int, required=True)
    parser.add_argument("--proxy", type=Path, required=True)
    given = parser.parse_args()
    asyncio.run(serve(given.server_port, given.proxy))
