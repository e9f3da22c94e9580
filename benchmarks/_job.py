"""A training as the local platform runs it: the same supervisor and restarts, from a description made here."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
TRAINER = PROJECT / "trainer/.venv/bin/python"
SUPERVISOR = PROJECT / ".venv/bin/python"


@dataclass(frozen=True)
class RunningJob:
    """A job under its supervisor; `folder` holds its logs, its processes' identities and its outcome."""

    folder: Path
    supervisor: "subprocess.Popen[str]"

    @classmethod
    def start(
        cls,
        folder: Path,
        command: Sequence[str],
        roles: Mapping[str, int],
        *,
        wrapped: Mapping[str, Sequence[str]] | None = None,
        restarts: int = 3,
        environment: Mapping[str, str] | None = None,
    ) -> "RunningJob":
        """Start `command` of the trainer once for every replica of `roles`.

        `wrapped`: by role, the command that its own is given to as arguments (such as `prlimit --data=...`).
        """
        folder.mkdir(parents=True, exist_ok=True)
        folder = folder.resolve()
        lockstep = "worker" in roles and "ps" not in roles
        replicas = [
            {
                "role": role,
                "index": index,
                "command": [*(wrapped or {}).get(role, ()), str(TRAINER), "-m", "penstock_trainer", *command],
                "environment": dict(environment or {}),
                "log": str(folder / f"{role}-{index}.log"),
                "restarts": {"worker": 0 if lockstep else restarts, "evaluator": restarts}.get(role, 0),
            }
            for role, count in roles.items()
            for index in range(count)
        ]
        spec = {
            "name": "train",
            "success_role": "chief",
            "restarts": restarts,
            "replicas": replicas,
            "cwd": str(folder),
            "result": str(folder / "result.json"),
            "outcome": str(folder / "outcome.json"),
            "processes": str(folder / "processes.json"),
            "watch": [],
        }
        (folder / "spec.json").write_text(json.dumps(spec))
        with (folder / "output.txt").open("w") as output:
            supervisor = subprocess.Popen(
                [SUPERVISOR, "-m", "penstock.local.supervisor", folder / "spec.json"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        return cls(folder, supervisor)

    def pids(self) -> dict[str, int]:
        """The processes that run now, by name: `ps-0`."""
        try:
            return {name: int(identity[0]) for name, identity in _json(self.folder / "processes.json").items()}
        except FileNotFoundError:
            return {}

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> bool:
        """Send a signal to a replica; whether it was there."""
        try:
            os.kill(self.pids()[name], number)
        except (KeyError, ProcessLookupError):
            return False
        return True

    def output(self) -> str:
        """What a person who watches has seen."""
        return (self.folder / "output.txt").read_text()

    def ended(self) -> bool:
        """Whether it is over."""
        return self.supervisor.poll() is not None

    def result(self, timeout: float) -> dict[str, Any]:
        """The result of the job, once it has ended well; raises AssertionError otherwise."""
        try:
            self.supervisor.wait(timeout)
        except subprocess.TimeoutExpired:
            self.supervisor.terminate()
            self.supervisor.wait(20)
            raise AssertionError(f"not done after {timeout:.0f} s\n{self.output()}") from None
        outcome = _json(self.folder / "outcome.json")
        assert outcome["status"] == "succeeded", f"{outcome}\n{self.output()}"
        return _json(self.folder / "result.json")


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def main() -> None:
    """`_job.py FOLDER ROLES COMMAND...`: run a job by hand, such as `_job.py /tmp/job ps=2,worker=2 train ...`."""
    folder, roles, *command = sys.argv[1:]
    counts = {"chief": 1, **{name: int(count) for name, _, count in (each.partition("=") for each in roles.split(","))}}
    job = RunningJob.start(Path(folder), command, {role: count for role, count in counts.items() if count})
    print(job.result(3600))


if __name__ == "__main__":
    main()
