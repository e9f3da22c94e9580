"""How a benchmark reports: one JSON object a line."""

import json
import os
import platform
from pathlib import Path


def report(
    benchmark: str,
    metric: str,
    value: float,
    unit: str,
    *,
    goal: float | None = None,
    peer: str | None = None,
    peer_value: float | None = None,
    ratio: float | None = None,
    met: bool | None = None,
    repeats: int = 1,
) -> None:
    """Print one result; `ratio` is better when larger, `met` says whether the goal was reached."""
    line = {
        "benchmark": benchmark,
        "metric": metric,
        "value": round(value, 4),
        "unit": unit,
        "peer": peer,
        "peer_value": None if peer_value is None else round(peer_value, 4),
        "ratio": None if ratio is None else round(ratio, 4),
        "goal": goal,
        "met": met,
        "repeats": repeats,
        "machine": machine(),
    }
    print(json.dumps(line), flush=True)


def machine() -> str:
    """The processor's name and how many cores this process may use."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in _lines(cpuinfo) if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0] if names else platform.machine()}, {cores} cores"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
