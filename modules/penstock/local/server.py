"""Starting an endpoint's supervisor, which outlives the command, and knowing what has become of what it was told."""

import http.client
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.errors import ServiceFailed
from penstock.local import engine, ports, scheduling
from penstock.local.environment import without_pulumi
from penstock.local.identity import ProcessIdentity
from penstock.local.spec import read_json, write_json

READY_SECONDS = 180.0


@dataclass(frozen=True)
class Address:
    """Where an endpoint answers, and the path that says whether it is ready."""

    host: str
    port: int
    probe: str
    tls: bool = False

    @property
    def url(self) -> str:
        """Base URL."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def ready(self, timeout_seconds: float) -> bool:
        """Whether the probe answers 200."""
        if self.tls:
            # Nothing is told to it but the probe's path, and it is a process of ours: any certificate will do.
            anyone = ssl.create_default_context()
            anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout_seconds, context=anyone)
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_seconds)
        try:
            connection.request("GET", self.probe)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@dataclass(frozen=True)
class Endpoint:
    """One endpoint's address and files."""

    address: Address
    folder: Path
    """Its plan, its status, and the state of its rollout."""
    log: Path
    record: Path
    cwd: Path
    environment: Mapping[str, str]
    """Of its processes, besides what this one has."""

    def status(self, supervisor: ProcessIdentity) -> dict[str, Any] | None:
        """What the supervisor says of itself; None before its first model is loaded."""
        return read_json(self.folder / f"status.{supervisor.pid}.json")

    def answers(self, supervisor: ProcessIdentity) -> bool:
        """Whether it is there and its workers answer; without a worker, whether it would start one."""
        status = self.status(supervisor) if supervisor.alive() else None
        return status is not None and (not status["ready"] or self.address.ready(timeout_seconds=3))


def start(
    endpoint: Endpoint, program: Sequence[str], revision: str, replaced: ProcessIdentity | None
) -> ProcessIdentity:
    """Starts a supervisor and returns once it serves the plan; one that does not get there is ended again.

    It is handed the socket of the one it replaces, which goes on until it is ended.
    """
    before = endpoint.status(replaced) if replaced else None
    files = ["--plan", str(endpoint.folder / "plan.json"), "--folder", str(endpoint.folder)]
    succeeds = ["--succeed", before["handover"]] if before else []
    return launch(
        endpoint,
        [*program, *files, *succeeds],
        lambda identity, ended: _wait(endpoint, identity, revision, ended),
        setting="port",
        replaced=replaced,
        shares_port=before is not None,
    )


def launch(
    endpoint: Endpoint,
    command: Sequence[str],
    wait: Callable[[ProcessIdentity, Callable[[], str | None]], None],
    *,
    setting: str,
    replaced: ProcessIdentity | None = None,
    shares_port: bool = False,
) -> ProcessIdentity:
    """Starts a process that outlives the command and returns when `wait` does; where that raises, it is ended again.

    `wait` is given the process and what says, once it has ended, why. `setting` is the setting that says the port.

    Raises:
        ServiceFailed: the port is another's, or the process ended at once.
    """
    address = endpoint.address
    if not shares_port and not ports.is_free(address.host, address.port):
        raise ServiceFailed(
            f"port {address.port} on {address.host} is used by {ports.holder(address.port)}; end that process, "
            f"or choose another port with `pulumi config set {setting} {address.port + 1}`"
        )
    for file in (endpoint.log, endpoint.record):
        file.parent.mkdir(parents=True, exist_ok=True)
    with endpoint.log.open("ab") as output, engine.death_answered_after():
        begins = output.tell()
        process = subprocess.Popen(
            [*command, "--host", address.host, "--port", str(address.port)],
            cwd=endpoint.cwd,
            env={**without_pulumi(os.environ), **endpoint.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A session of its own: neither Ctrl-C nor the end of the run reaches the server.
            start_new_session=True,
        )
        scheduling.as_any_other(process.pid)
        identity = ProcessIdentity.of(process.pid)
        if identity is None:
            words = f"the server ended at once with code {process.wait()}"
            raise ServiceFailed(_last_words(endpoint.log, begins, words))
        write_json(endpoint.record, [identity.pid, identity.started])
        forget = engine.on_death(lambda: identity.end(grace_seconds=5))

    def ended() -> str | None:
        code = process.poll()
        return None if code is None else _last_words(endpoint.log, begins, f"the server ended with exit code {code}")

    try:
        with engine.interruptible(process.terminate):
            wait(identity, ended)
    except BaseException:
        forget()
        identity.end(grace_seconds=5)
        if replaced is None:
            endpoint.record.unlink()
        else:
            write_json(endpoint.record, [replaced.pid, replaced.started])
        raise
    if replaced is not None:
        # One that took over goes on, whatever becomes of the run. The first of its kind does not: the engine may be
        # killed before it has written that there is one.
        forget()
    return identity


def direct(endpoint: Endpoint, supervisor: ProcessIdentity, revision: str) -> None:
    """Has a running supervisor read its plan again, and returns once it serves that."""
    os.kill(supervisor.pid, signal.SIGHUP)
    _wait(endpoint, supervisor, revision, lambda: None if supervisor.alive() else "the server has ended")


def recorded(record: Path) -> ProcessIdentity | None:
    """The server that a record names, running or not."""
    content = read_json(record)
    return ProcessIdentity(int(content[0]), float(content[1])) if content else None


def _wait(endpoint: Endpoint, supervisor: ProcessIdentity, revision: str, ended: Callable[[], str | None]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if engine.is_cancelled():
            raise ServiceFailed("interrupted while the server was loading the model; `make up` goes on with it")
        if (words := ended()) is not None:
            raise ServiceFailed(words)
        status = endpoint.status(supervisor)
        if status and status["revision"] == revision:
            return
        if status and status["refused"] and status["refused"]["revision"] == revision:
            raise ServiceFailed(
                f"version {status['refused']['version']} was refused, and what was served before goes on: "
                f"{status['refused']['error']}\nlog: {endpoint.log}"
            )
        time.sleep(0.05)
    raise ServiceFailed(f"the server did not serve the plan within {READY_SECONDS:.0f} seconds\nlog: {endpoint.log}")


def _last_words(log: Path, begins: int, otherwise: str) -> str:
    lines = log.read_bytes()[begins:].decode(errors="replace").splitlines()
    for line in reversed(lines):
        if line.startswith("error: "):
            return f"the server did not start: {line.removeprefix('error: ')}\nlog: {log}"
    tail = "\n".join(line for line in lines[-6:] if line.strip())
    return f"{otherwise}: {tail}\nlog: {log}"
