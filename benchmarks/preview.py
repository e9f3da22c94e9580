"""What Penstock's layer costs before a preview begins: importing its modules, over importing pulumi itself.

`make bench-preview` takes the CPU-seconds of fresh interpreters, alternating.
"""

import statistics
import subprocess
from pathlib import Path

from _report import report

PROJECT = Path(__file__).resolve().parent.parent
PYTHON = PROJECT / ".venv/bin/python"
REPEATS = 3
IMPORTS = {
    "pulumi": "import pulumi",
    "penstock": "import penstock, penstock.gcp.environment",
    "platform": "import penstock.gcp.platform",
}


def main() -> None:
    """Alternates the imports and reports the medians."""
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for name in list(IMPORTS) * (REPEATS + 1):
        seconds[name].append(_cpu(IMPORTS[name]))
    # The first of each has filled the caches.
    pulumi, *rest = (statistics.median(seconds[name][1:]) for name in IMPORTS)
    for name, found in zip(list(IMPORTS)[1:], rest, strict=True):
        report(
            "preview", f"import_cpu_seconds_over_pulumi_{name}", found - pulumi, "s", goal=1.0, peer="import pulumi",
            peer_value=pulumi, met=found - pulumi <= 1.0, repeats=REPEATS,
        )  # fmt: skip


def _cpu(code: str) -> float:
    """CPU-seconds that a fresh interpreter takes for it."""
    script = f"import resource; {code}; u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime)"
    return float(subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
