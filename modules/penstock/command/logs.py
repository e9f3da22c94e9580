"""The logs of a stack's stages and of its endpoint, where they lie: files of this machine, or pods."""

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from penstock.command.state import LOCAL_JOB, SERVERS, WORKLOAD, State, log_folder
from penstock.errors import PenstockError
from penstock.kubernetes.api import as_file
from penstock.kubernetes.verdict import JOB_SET, ROLE

POLL_SECONDS = 0.3


@dataclass
class Tail:
    """A file of which all up to a place has been shown; one that is written anew is shown from its beginning."""

    path: Path
    place: int = 0
    rest: bytes = field(default=b"", repr=False)

    def last(self, lines: int) -> list[str]:
        """The last lines that are there."""
        content = self.path.read_bytes()
        self.place = len(content)
        whole, _, self.rest = content.rpartition(b"\n")
        found = whole.split(b"\n") if whole else []
        return [line.decode(errors="replace") for line in found[max(0, len(found) - lines) :]]

    def new(self) -> list[str]:
        """The lines that have come since."""
        try:
            with self.path.open("rb") as file:
                if self.path.stat().st_size < self.place:
                    self.place, self.rest = 0, b""
                file.seek(self.place)
                content = self.rest + file.read()
                self.place = file.tell()
        except FileNotFoundError:
            self.place, self.rest = 0, b""
            return []
        *lines, self.rest = content.split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def local(state: State, stage: str | None, role: str | None) -> list[Path]:
    """The log files of the stages whose names contain `stage`, of the replicas whose names begin with `role`."""
    folders = {job.name: log_folder(job) for job in state.jobs if job.kind == LOCAL_JOB}
    folders |= {each.name: Path(each.outputs["log"]).parent for each in state.resources if each.kind in SERVERS}
    wanted = [folder for name, folder in folders.items() if stage is None or stage in name]
    found = [file for folder in wanted for file in sorted(folder.glob("*.log")) if file.stem.startswith(role or "")]
    if not found:
        have = [f"{name} ({', '.join(_roles(folder))})" for name, folder in folders.items()]
        raise PenstockError(
            f"stack {state.stack} has no log of {' '.join(filter(None, [stage, role])) or 'anything'}; it has: "
            f"{'; '.join(have) or 'none'}"
        )
    return found


def show(files: list[Path], lines: int, follow: bool, write: Callable[[str, str], None]) -> None:
    """Gives `write` each line with the name of its log; with `follow`, new lines too, until Ctrl-C."""
    tails = {f"{file.parent.name}/{file.stem}": Tail(file) for file in files}
    for name, tail in tails.items():
        for line in tail.last(lines):
            write(name, line)
    while follow:
        time.sleep(POLL_SECONDS)
        for name, tail in tails.items():
            for line in tail.new():
                write(name, line)


def cluster(state: State, stage: str | None, role: str | None, lines: int, follow: bool) -> int:
    """Has kubectl show the logs of the pods; its exit code."""
    selectors: list[tuple[str, str]] = []
    for job in state.jobs:
        if stage is None or stage in job.name:
            only = f",{ROLE}={role}" if role else ""
            selectors.append((job.outputs["namespace"], f"{JOB_SET}={job.outputs['job_set']}{only}"))
    if not role:
        servers = [(name, made["metadata"]["namespace"]) for name, made in state.servers.items()]
        selectors += [(space, f"{WORKLOAD}={name}") for name, space in servers if stage is None or stage in name]
    if not selectors and state.cloud_run is not None:
        made = state.cloud_run.outputs
        raise PenstockError(
            f"the endpoint of stack {state.stack} is on Cloud Run, whose logs gcloud shows: `gcloud run services logs "
            f"read {made['name']} --region {made['location']} --project {made['project']}`"
        )
    if not selectors:
        raise PenstockError(f"stack {state.stack} has no stage {stage!r}: {', '.join(job.name for job in state.jobs)}")
    if shutil.which("kubectl") is None:
        raise PenstockError("the logs of pods are shown by kubectl, which is not on PATH")
    if follow and len(selectors) > 1:
        raise PenstockError("only one stage can be followed: name it")
    kubeconfig, context = state.cluster
    with as_file(kubeconfig) as file:
        command = ["kubectl", "--kubeconfig", file, *(["--context", context] if context else []), "logs"]
        command += ["--prefix", "--tail", str(lines), "--max-log-requests", "100", *(["--follow"] if follow else [])]
        codes = [
            subprocess.run([*command, "-n", space, "-l", labels], check=False).returncode for space, labels in selectors
        ]
    return max(codes)


def _roles(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.glob("*.log"))
