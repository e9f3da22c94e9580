"""Real server processes on loopback ports, serving real sealed models."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from penstock_trainer.artifacts import Manifest
from tests.conftest import free_port

STARTUP_SECONDS = 120
SUPERVISED_SECONDS = 240
LARGE = json.dumps({"instances": [1.0, 2.0, 5.0]}).encode().ljust(1 << 20)
"""A body so large that its request is in flight from its headers on."""


class RunningServer:
    """One server process and a client of it."""

    def __init__(self, model: Path, name: str, log: Path, *arguments: str) -> None:
        self.model = model
        self.name = name
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(command(model, name, 0, *arguments), stderr=stderr)
        self.port = self._wait_for(r'"port": (\d+)')
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=60)

    @property
    def log(self) -> str:
        """What the process has written to standard error so far."""
        return self._log.read_text()

    @property
    def grpc_port(self) -> int:
        """The port that it says it answers gRPC on."""
        return self._wait_for(r'"grpc_port": (\d+)')

    def wait_until_ready(self) -> "RunningServer":
        """Return once the model is loaded."""
        deadline = time.monotonic() + STARTUP_SECONDS
        while not self._is_ready():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)
        return self

    def _is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.ConnectError:  # the port is known a moment before it listens
            return False

    def predict(self, body: Any, **options: Any) -> httpx.Response:
        """POST a JSON value, or bytes as they are, to the model's predict route."""
        how = {"content": body} if isinstance(body, bytes) else {"json": body}
        return self.client.post(f"/v1/models/{self.name}:predict", **how, **options)

    def end(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def _wait_for(self, pattern: str) -> int:
        deadline = time.monotonic() + STARTUP_SECONDS
        while not (found := re.search(pattern, self.log)):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return int(found.group(1))


class Load(threading.Thread):
    """A client that posts over one keep-alive connection, opening another when told to, until no one listens.

    It must never lose one.
    """

    BODY: ClassVar = {"instances": [1.0, 2.0, 5.0]}
    ANSWER: ClassVar = {"predictions": [3.5, 4.0, 5.5]}
    OTHER: ClassVar = {"predictions": [4.5, 5.0, 6.5]}
    """The model `half_plus_four`'s."""
    PATH = "/v1/models/half_plus_three:predict"

    def __init__(self, port: int, pause_seconds: float = 0.0) -> None:
        super().__init__()
        self.port = port
        self.pause_seconds = pause_seconds
        self.answered = 0
        self.by: Counter[str] = Counter()
        """Answers by the digest of the model that gave them."""
        self.leaving = False
        self.lost: list[str] = []
        self.start()

    def run(self) -> None:
        body = json.dumps(self.BODY).encode()
        head = f"POST {self.PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\nx-request-key: "
        while not self.leaving:
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            except ConnectionRefusedError:
                return
            with connection, connection.makefile("rb") as answers:
                closing = False
                while not closing and not self.leaving:
                    try:
                        connection.sendall(f"{head}{self.answered}\r\n\r\n".encode() + body)
                        closing = self.read(answers)
                        time.sleep(self.pause_seconds)
                    except OSError as exc:
                        self.lost.append(repr(exc))
                        return

    @staticmethod
    def half_asked(port: int, path: str) -> socket.socket:
        """A connection with the headers of a request: in flight until its body is sent, however fast all is."""
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(LARGE)}\r\n\r\n"
        connection.sendall(head.encode())
        return connection

    @staticmethod
    def answer_to(connection: socket.socket) -> object:
        """Send the body; what the answer holds."""
        with connection:
            connection.sendall(LARGE)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return json.loads(response.read())

    def end(self) -> "Load":
        """Ask no more."""
        self.leaving = True
        self.join()
        return self

    def read(self, answers) -> bool:
        """Take one answer; whether the server asked for this connection to be closed."""
        status = answers.readline()
        if not status:
            raise OSError("closed without an answer")
        headers = dict(line.strip().lower().split(b": ", 1) for line in iter(answers.readline, b"\r\n"))
        if b" 200 " not in status or json.loads(answers.read(int(headers[b"content-length"]))) not in (
            self.ANSWER,
            self.OTHER,
        ):
            raise OSError(f"answered {status!r}")
        self.answered += 1
        self.by[headers[b"x-model-digest"].decode()] += 1
        return headers.get(b"connection") == b"close"


class Supervised:
    """One endpoint: its folder, its plan, and whichever supervisor keeps it."""

    NAME = "half_plus_three"
    MODELS = (("1", NAME), ("2", "half_plus_four"))

    def __init__(self, folder: Path, models: Path, port: int, *arguments: str) -> None:
        """`arguments` are the supervisor's, beside those that every one has."""
        self.folder, self.port, self.arguments = folder, port, arguments
        self.own = folder / "made" / "by itself"
        self.digests = {n: Manifest.read(models / name).digest for n, name in self.MODELS}
        self.versions = {
            number: {"path": str(models / name), "digest": self.digests[number]} for number, name in self.MODELS
        }
        self.revision = 0
        self.processes: list[subprocess.Popen[bytes]] = []
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=SUPERVISED_SECONDS)

    @property
    def log(self) -> str:
        """What supervisors and workers have written to standard error."""
        return (self.folder / "log").read_text()

    def plan(self, **changed: Any) -> None:
        """Write a plan: version 1 alone, and what the test changes of it."""
        self.revision += 1
        plan = {"name": self.NAME, "versions": self.versions, "latest": "1", "traffic": None, "rollout": None}
        plan |= {"replicas": {"lowest": 1, "highest": 1}, "revision": str(self.revision), **changed}
        (self.folder / "plan.json").write_text(json.dumps(plan))

    def start(self) -> "Supervised":
        """Start a supervisor, the successor of the one that runs, and wait until it serves the plan."""
        files = ["--plan", str(self.folder / "plan.json"), "--folder", str(self.own)]
        succeeds = ["--succeed", self.status()["handover"]] if self.processes else []
        command = [sys.executable, "-m", "penstock_serving.supervisor", *files, "--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self.processes.append(subprocess.Popen([*command, *succeeds, *self.arguments], stderr=log))
        return self.until(lambda: self.status().get("revision") == str(self.revision))

    def follow(self, **changed: Any) -> "Supervised":
        """Change the plan and wait until it is served or refused."""
        self.plan(**changed)
        self.processes[-1].send_signal(signal.SIGHUP)
        return self.until(
            lambda: str(self.revision) in (self.status()["revision"], (self.status()["refused"] or {}).get("revision"))
        )

    def status(self) -> dict[str, Any]:
        """What the supervisor says to whoever started it."""
        try:
            return json.loads((self.own / f"status.{self.processes[-1].pid}.json").read_text())
        except FileNotFoundError:
            return {}

    def until(self, reached: Callable[[], bool], seconds: float = SUPERVISED_SECONDS) -> "Supervised":
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert self.processes[-1].poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return self

    def traffic(self) -> dict[str, Any]:
        """What the endpoint says of its traffic."""
        return self.client.get(f"/v1/models/{self.NAME}/traffic").json()

    def predict(self, body: Any, **headers: str) -> httpx.Response:
        """Ask for predictions."""
        return self.client.post(f"/v1/models/{self.NAME}:predict", json=body, headers=headers)

    def workers(self) -> list[int]:
        """The processes that the supervisor has started and not yet seen the end of."""
        found = Path(f"/proc/{self.processes[-1].pid}/task/{self.processes[-1].pid}/children")
        return [int(pid) for pid in found.read_text().split()]


def command(model: Path, name: str, port: int, *arguments: str) -> list[str]:
    """The server's argv, in this environment."""
    server = [sys.executable, "-m", "penstock_serving", "--model", str(model), "--name", name, "--port", str(port)]
    return [*server, *arguments]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sealed models `flights`, `half_plus_three` and `half_plus_four`."""
    root = tmp_path_factory.mktemp("models")
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    builder = [sys.executable, str(Path(__file__).with_name("build_models.py")), str(root)]
    built = subprocess.run(builder, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return root


@pytest.fixture(scope="session")
def load() -> type[Load]:
    """Makes clients of the models `half_plus_three` and `half_plus_four`."""
    return Load


@pytest.fixture(scope="session")
def serve(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningServer]]:
    """Starts a server of one of the models; whatever still runs at the end is killed."""
    logs = tmp_path_factory.mktemp("logs")
    with contextlib.ExitStack() as running:

        def start(name: str, *arguments: str, model: Path | None = None) -> RunningServer:
            server = RunningServer(model or models / name, name, logs / f"{len(list(logs.iterdir()))}.log", *arguments)
            running.callback(server.process.wait)
            running.callback(server.process.kill)
            running.callback(server.client.close)
            return server

        yield start


@pytest.fixture(scope="session")
def flights(serve: Callable[..., RunningServer]) -> RunningServer:
    """A ready server of the model `flights`."""
    return serve("flights").wait_until_ready()


@pytest.fixture
def supervised(models: Path, tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    """Makes endpoints without a plan; whatever runs of them at the end is ended."""
    made: list[Supervised] = []

    def make(*arguments: str) -> Supervised:
        made.append(Supervised(tmp_path, models, free_port(), *arguments))
        return made[-1]

    yield make
    for each in made:
        each.client.close()
        for process in each.processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            assert process.wait(30) is not None


@pytest.fixture
def refused() -> Callable[..., str]:
    """Runs a server that must refuse to start, and returns the one line that it says."""

    def run(model: Path, *arguments: str, name: str = "flights", port: int = 0) -> str:
        done = subprocess.run(
            command(model, name, port, *arguments), capture_output=True, text=True, timeout=STARTUP_SECONDS, check=False
        )
        assert done.returncode == 2, done.stderr
        errors = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert len(errors) == 1, done.stderr
        assert errors[0].startswith("error: ")
        assert done.stdout == ""
        return errors[0]

    return run


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]
