"""Starting a server that outlives the command, and knowing when it is ready."""

import http.client
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import ServiceFailed
from penstock.local import engine, ports
from penstock.local.environment import without_pulumi
from penstock.local.identity import ProcessIdentity
from penstock.local.spec import read_json, write_json

READY_SECONDS = 180.0
SHARED_PORT_PROBES = 24
"""While a port is shared, the kernel gives a connection to either server: so many answers in a row come from both."""


@dataclass(frozen=True)
class Address:
    """Where a server answers, and the path that says whether it is ready."""

    host: str
    port: int
    probe: str

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{self.host}:{self.port}"

    def ready(self, timeout_seconds: float) -> bool:
        """Whether the probe answers 200."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_seconds)
        try:
            connection.request("GET", self.probe)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def start(
    command: Sequence[str],
    address: Address,
    log: Path,
    record: Path,
    cwd: Path,
    replaced: ProcessIdentity | None,
) -> ProcessIdentity:
    """Starts a server and returns once it is ready; a server that does not get there is ended again."""
    shares_port = replaced is not None and ports.listens(replaced.pid, address.port)
    if not shares_port and not ports.is_free(address.host, address.port):
        raise ServiceFailed(
            f"port {address.port} on {address.host} is used by {ports.holder(address.port)}; end that process, "
            f"or choose another port with `pulumi config set port {address.port + 1}`"
        )
    for file in (log, record):
        file.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        begins = output.tell()
        process = subprocess.Popen(
            [*command, "--host", address.host, "--port", str(address.port)],
            cwd=cwd,
            env=without_pulumi(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A session of its own: neither Ctrl-C nor the end of the run reaches the server.
            start_new_session=True,
        )
    identity = ProcessIdentity.of(process.pid)
    if identity is None:
        raise ServiceFailed(_last_words(log, begins, f"the server ended at once with exit code {process.wait()}"))
    write_json(record, [identity.pid, identity.started])
    forget = engine.on_death(lambda: identity.end(grace_seconds=5))
    try:
        with engine.interruptible(process.terminate):
            _wait_until_ready(process, address, SHARED_PORT_PROBES if shares_port else 1, log, begins)
    except BaseException:
        identity.end(grace_seconds=5)
        record.unlink()
        raise
    finally:
        forget()
    return identity


def recorded(record: Path) -> ProcessIdentity | None:
    """The server that a record names, running or not."""
    content = read_json(record)
    return ProcessIdentity(int(content[0]), float(content[1])) if content else None


def _wait_until_ready(
    process: "subprocess.Popen[bytes]", address: Address, probes: int, log: Path, begins: int
) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        code = process.poll()
        if engine.is_cancelled():
            raise ServiceFailed("interrupted while the server was loading the model; `make up` starts it again")
        if code is not None:
            raise ServiceFailed(_last_words(log, begins, f"the server ended with exit code {code}"))
        if ports.listens(process.pid, address.port) and all(address.ready(timeout_seconds=5) for _ in range(probes)):
            return
        time.sleep(0.1)
    raise ServiceFailed(_last_words(log, begins, f"the server was not ready after {READY_SECONDS:.0f} seconds"))


def _last_words(log: Path, begins: int, otherwise: str) -> str:
    lines = log.read_bytes()[begins:].decode(errors="replace").splitlines()
    for line in reversed(lines):
        if line.startswith("error: "):
            return f"the server did not start: {line.removeprefix('error: ')}\nlog: {log}"
    tail = "\n".join(line for line in lines[-6:] if line.strip())
    return f"{otherwise}: {tail}\nlog: {log}"
