"""A project of its own for the tests that run the real engine: the user's stack and state are never touched.

Only the standard library is imported here: every suite loads this file, in three different environments.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
SMALL = {"rows": 6000, "trials": 2, "epochs": 1, "bad_rows_allowed": "0.001", "tensorboard_port": 0}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test for which something is missing is told again at the end, where somebody collects what was not run."""
    file = os.environ.get("PENSTOCK_NOT_RUN")
    if not file or not report.skipped or not isinstance(report.longrepr, tuple):
        return
    if said := re.match(r"Skipped: NOT (?:RUN|TESTED): (.*)", report.longrepr[2]):
        line = f"NOT RUN: {report.nodeid.partition('::')[0]}: {said[1]}\n"
        with Path(file).open("a+", encoding="utf-8") as told:
            told.seek(0)
            if line not in told:
                told.write(line)


class Project:
    """A copy of the program and its tools in a folder of its own, with the checkout's trainer, server, environments."""

    def __init__(self, root: Path, stack: str = "local", **settings: Any) -> None:
        self.root, self.stack, self._settings = root, stack, {**SMALL, **settings}
        for name in ("stacks", "tools"):
            ignore = shutil.ignore_patterns(".venv", "__pycache__")
            shutil.copytree(CHECKOUT / name, root / name, ignore=ignore)
        shutil.copy(CHECKOUT / "Pulumi.yaml", root)
        for name in ("trainer", "serving", "policies", ".venv", ".tools"):
            if (CHECKOUT / name).exists():
                (root / name).symlink_to(CHECKOUT / name)
        (root / "stacks" / ".venv").symlink_to("../.venv")
        self.problem = root / "flights.py"
        shutil.copy(CHECKOUT / "trainer/penstock_trainer/problems/flights.py", self.problem)
        self.port = free_port()
        self.configure()

    @property
    def stack_folder(self) -> Path:
        """Artifacts, logs and jobs of the stack."""
        return self.root / ".penstock" / self.stack

    @property
    def state_file(self) -> Path:
        """Where Pulumi keeps the stack's state."""
        return self.root / f".penstock/state/.pulumi/stacks/penstock/{self.stack}.json"

    def configure(self, **settings: Any) -> None:
        """Writes the stack's configuration: a small slice of the flights, and what the test changes of it."""
        values = {"problem": self.problem.name, "port": self.port, "keep": ["raw"], **self._settings, **settings}
        lines = ["config:", *(f"  penstock:{key}: {json.dumps(value)}" for key, value in values.items())]
        (self.root / f"stacks/Pulumi.{self.stack}.yaml").write_text("\n".join(lines) + "\n")

    def environment(self) -> dict[str, str]:
        """As a newcomer's: nothing of Pulumi is set, and its home is not the user's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "PENSTOCK_"))}
        return {**kept, "PULUMI_HOME": str(self.root / "pulumi-home")}

    def start(self, command: str) -> "subprocess.Popen[str]":
        """Starts `make up` or `make down` in a session of its own, as a terminal would."""
        with (self.root / "output.txt").open("w") as output:
            return subprocess.Popen(
                [CHECKOUT / ".venv/bin/python", "tools/stack.py", command, self.stack],
                cwd=self.root,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def run(self, command: str, expected: int = 0, timeout: float = 400) -> str:
        """Runs `make up` or `make down` to its end; what a person would have seen."""
        code = self.start(command).wait(timeout)
        assert code == expected, f"exit code {code}\n{self.output()}"
        return self.output()

    def operate(self, *arguments: str, expected: int = 0, timeout: float = 200, **environment: str) -> str:
        """Runs the command `penstock` in the project to its end; what a person would have seen."""
        done = subprocess.run(
            [CHECKOUT / ".venv/bin/penstock", *arguments],
            cwd=self.root,
            env=self.environment() | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        said = done.stdout + done.stderr
        assert done.returncode == expected, f"exit code {done.returncode}\n{said}"
        assert "Traceback" not in said
        return said

    def output(self) -> str:
        """What the command that was started last has written."""
        return (self.root / "output.txt").read_text()

    def deployment(self) -> dict[str, Any]:
        """The stack's resources by name, as the state has them."""
        state = json.loads(self.state_file.read_text())
        return {r["urn"].rpartition("::")[2]: r for r in state["checkpoint"]["latest"].get("resources", [])}

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        return self.deployment()[f"penstock-{self.stack}"]["outputs"]

    def get(self, path: str) -> Any:
        """What the model's endpoint answers: `path` is appended to its URL."""
        with urllib.request.urlopen(self.outputs()["endpoint"] + path, timeout=10) as response:
            return json.load(response)

    def processes(self) -> dict[int, str]:
        """Every process with this project in its command line, environment or working directory."""
        import psutil

        found: dict[int, str] = {}
        for process in psutil.process_iter():
            try:
                places = [*process.cmdline(), process.cwd(), *process.environ().values()]
            except (psutil.Error, FileNotFoundError):
                continue
            if process.pid != os.getpid() and any(str(self.root) in place for place in places):
                found[process.pid] = " ".join(process.cmdline())
        return found

    def wait_for(self, text: str, process: "subprocess.Popen[str]", timeout: float = 180) -> None:
        """Waits until the running command has said something."""
        deadline = time.monotonic() + timeout
        while text not in self.output():
            assert process.poll() is None, f"ended before it said {text!r}\n{self.output()}"
            assert time.monotonic() < deadline, f"did not say {text!r}\n{self.output()}"
            time.sleep(0.1)

    def left_after(self, seconds: float) -> dict[int, str]:
        """The project's processes, but for its server, that are still there after so many seconds."""
        deadline = time.monotonic() + seconds
        while (left := self.strays()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return left

    def strays(self) -> dict[int, str]:
        """The project's processes, but for its server."""
        return {pid: line for pid, line in self.processes().items() if "-m penstock_serving" not in line}


def engine_of(started: "subprocess.Popen[str]") -> Any:
    """The process of the CLI that a command runs."""
    import psutil

    return next(child for child in psutil.Process(started.pid).children(recursive=True) if child.name() == "pulumi")


def free_port() -> int:
    """A port below the ephemeral range that nobody uses, and that no other call gets, in whichever suite beside this
    one, as long as this process runs.
    """
    for port in range(21_000 + os.getpid() % 5000, 32_000):
        mine = socket.socket(socket.AF_UNIX)
        try:
            mine.bind(f"\0penstock test port {port}")
        except OSError:
            mine.close()
            continue
        mine.detach()  # open until this process ends: no other can bind that name
        if not listens(port):
            return port
    raise AssertionError("no free port")


def listens(port: int) -> bool:
    """Whether somebody takes connections at this port of the loopback address."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def remove(project: Project) -> None:
    """Takes the stack down and ends what is left."""
    project.configure(keep=[])
    if (project.root / ".penstock/state").exists():
        project.run("down")
    for pid in project.processes():
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project on which nothing has been run."""
    made = Project(tmp_path)
    yield made
    remove(made)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project after `make up`: its endpoint answers. What a test changes of it, the next `up` puts right."""
    made = Project(tmp_path_factory.mktemp("served"))
    begin = time.monotonic()
    made.run("up")
    print(f"first up: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    yield made
    remove(made)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "last: runs after all other tests, as it takes their stack away")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
