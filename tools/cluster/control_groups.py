"""Control groups (version 1) of a test cluster's nodes, below those of the process that starts it."""

import hashlib
from pathlib import Path

HIERARCHIES = Path("/sys/fs/cgroup")
CONTROLLERS = {
    **{name: name for name in ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")},
    "systemd": "none,name=systemd",
}
"""By folder, how it is mounted."""
PREFIX = "penstock-"
PROCESSES = "cgroup.procs"


def missing() -> str:
    """Why there can be none here; empty where there can."""
    absent = [name for name in CONTROLLERS if not (HIERARCHIES / name / PROCESSES).exists()]
    return f"its nodes need control groups of version 1; there is no {', no '.join(absent)}" if absent else ""


def join(group: str) -> None:
    """Makes the calling process a member of a group in every hierarchy."""
    for controller in CONTROLLERS:
        own = _own(controller)
        place = own / group
        place.mkdir(parents=True, exist_ok=True)
        if controller == "cpuset":
            # A new one has no processors, and who has none cannot run.
            for part in reversed([place, *place.parents][: len(Path(group).parts)]):
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (part / file).write_text((part.parent / file).read_text())
        (place / PROCESSES).write_text("0")


def members(group: str, part: str) -> list[int]:
    """The processes of all groups below one whose name has `part` in it."""
    found = [path for path in (_own("pids") / group).rglob(f"*{part}*") if path.is_dir()]
    return [int(pid) for path in found for file in path.rglob(PROCESSES) for pid in file.read_text().split()]


def left() -> list[Path]:
    """Groups of test clusters in which no process is any more."""
    return [path for path in of(f"{PREFIX}*") if not any(file.read_text() for file in path.rglob(PROCESSES))]


def group(folder: Path) -> str:
    """The name of a cluster's group, by the cluster's folder."""
    return f"{PREFIX}{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def of(group: str) -> list[Path]:
    """Where a group is, by hierarchy."""
    return [path for controller in CONTROLLERS for path in (HIERARCHIES / controller).rglob(group)]


def sweep() -> None:
    """Removes those in which no process is any more."""
    for group in left():
        for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()
        group.rmdir()


def _own(controller: str) -> Path:
    name = f"name={controller}" if controller == "systemd" else controller
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if name in controllers.split(","):
            return HIERARCHIES / controller / path.lstrip("/")
    return HIERARCHIES / controller
