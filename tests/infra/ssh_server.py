"""A server of SSH on the loopback address, which takes one key: `python ssh_server.py AUTHORIZED_KEYS`, until SIGTERM.

It prints its port. A program of its own, and not OpenSSH's, which needs root and an account of its own.
"""

import asyncio
import subprocess
import sys

import asyncssh


async def shell(process: "asyncssh.SSHServerProcess[bytes]") -> None:
    """Runs what a client asks for, as a login shell would."""
    pipe = subprocess.PIPE
    run = subprocess.Popen(["sh", "-c", process.command or "true"], stdin=pipe, stdout=pipe, stderr=pipe)
    await process.redirect(stdin=run.stdin, stdout=run.stdout, stderr=run.stderr)
    await process.stdout.drain()
    process.exit(run.wait())


async def serve(authorized: str) -> None:
    """Until it is ended."""
    server = await asyncssh.listen(
        "127.0.0.1",
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        authorized_client_keys=authorized,
        process_factory=shell,
        encoding=None,
    )
    print(server.get_port(), flush=True)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
