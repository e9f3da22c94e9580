"""What Penstock's layer costs before a deployment begins: importing its modules, and previewing `prod`.

    .venv/bin/python benchmarks/preview.py        (`make bench-preview`)

Importing: CPU-seconds of fresh interpreters over `import pulumi`. Previewing: seconds of `pulumi preview` on a stack
without state, for an empty program, for `prod`, and for the same resources written flat, once with the SDK's classes
alone and once with Penstock's light ones for Compute Engine; that the flat programs register the very same inputs is
checked first. The provider plugin is the tests' stand-in, the same for all. All alternate; medians.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/google"))

from _flat import program, registered
from _report import report

from tests.google.conftest import Stack

PROJECT = Path(__file__).resolve().parent.parent
PYTHON = PROJECT / ".venv/bin/python"
REPEATS = 5
IMPORTS = {
    "pulumi": "import pulumi",
    "penstock": "import penstock, penstock.gcp.environment",
    "platform": "import penstock.gcp.platform",
}
GOAL = 1.3
PREVIEW = ("preview", "--json", "--stack", "prod")


def main() -> None:
    """Prints a line for each figure."""
    imports()
    with tempfile.TemporaryDirectory() as folder:
        previews(Path(folder))


def imports() -> None:
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


def previews(folder: Path) -> None:
    """Alternates the programs and reports the medians."""
    stacks = {name: Stack(folder / name, folder / "schemas", "prod") for name in ("prod", "empty", "flat", "light")}
    stacks["prod"].environment()
    stacks["empty"].program("import pulumi\n")
    for stack in (stacks["prod"], stacks["empty"]):
        stack.run("stack", "init", "prod")
    resources = registered(stacks["prod"].run(*PREVIEW))
    for name in ("flat", "light"):
        stacks[name].program(program(resources, light=name == "light"))
        stacks[name].run("stack", "init", "prod")
        own = registered(stacks[name].run(*PREVIEW))
        different = {each for each in {*own, *resources} if own.get(each) != resources.get(each)}
        assert not different, f"the flat program is not the same in {sorted(different)}"
    seconds: dict[str, list[float]] = {name: [] for name in stacks}
    for name in list(stacks) * REPEATS:
        begin = time.monotonic()
        stacks[name].run(*PREVIEW)
        seconds[name].append(time.monotonic() - begin)
    found = {name: statistics.median(times) for name, times in seconds.items()}
    prod = found["prod"]
    report("preview", "preview_seconds_empty", found["empty"], "s", repeats=REPEATS)
    for name, metric in {"flat": "preview_time_vs_flat_program", "light": "preview_time_vs_light_flat_program"}.items():
        report(
            "preview", metric, prod / found[name], "times", goal=GOAL, peer=f"{len(resources)} resources, {name}",
            peer_value=found[name], ratio=found[name] / prod, met=prod / found[name] <= GOAL, repeats=REPEATS,
        )  # fmt: skip


def _cpu(code: str) -> float:
    """CPU-seconds that a fresh interpreter takes for it."""
    script = f"import resource; {code}; u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime)"
    return float(subprocess.run([PYTHON, "-c", script], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
