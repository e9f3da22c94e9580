"""What `make test` runs: lint, types, and every suite in the environment it belongs to. All are run, whatever fails.

Two run side by side, those of the engine, which often wait, last; those of clusters, which wait more often, beside
them, as soon as what these need is built where the user's cache does not have it. Each is printed when it is done.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pulumi_cli
from cluster import control_plane, kubelets, stages
from common import PROJECT, ToolError

from penstock.command.project import NO_PLUGINS, Project

Check: TypeAlias = tuple[str, Path, tuple[str, ...]]
INFRASTRUCTURE = PROJECT / ".venv" / "bin"
SIDE_BY_SIDE: tuple[Check, ...] = (
    ("lint", INFRASTRUCTURE, ("ruff", "check", ".")),
    ("format", INFRASTRUCTURE, ("ruff", "format", "--check", ".")),
    ("unit: trainer", PROJECT / "trainer/.venv/bin", ("pytest", "-q", "tests/unit/trainer")),
    ("google cloud", INFRASTRUCTURE, ("pytest", "-q", "tests/google")),
    ("contract", PROJECT / "serving/.venv/bin", ("pytest", "-q", "tests/contract")),
    ("reuse", INFRASTRUCTURE, ("pytest", "-q", "tests/reuse")),
    ("unit: serving", PROJECT / "serving/.venv/bin", ("pytest", "-q", "tests/unit/serving")),
    ("unit: policies", PROJECT / "policies/.venv/bin", ("pytest", "-q", "tests/unit/policies")),
    ("static", INFRASTRUCTURE, ("pytest", "-q", "tests/static")),
    ("unit: modules", INFRASTRUCTURE, ("pytest", "-q", "tests/unit/modules")),
    ("types: infrastructure", INFRASTRUCTURE, ("pyright",)),
    ("types: trainer", INFRASTRUCTURE, ("pyright", "--project", "tools/pyright/trainer.json")),
    ("types: policies", INFRASTRUCTURE, ("pyright", "--project", "tools/pyright/policies.json")),
    ("pages", PROJECT / ".tools/site/bin", ("mkdocs", "build", "--strict", "--quiet", "-f", "tools/site/mkdocs.yml")),
    ("types: serving", INFRASTRUCTURE, ("pyright", "--project", "tools/pyright/serving.json")),
    ("types: benchmarks", INFRASTRUCTURE, ("pyright", "--project", "tools/pyright/benchmarks.json")),
)
OWN = "tests/engine/own"
# One deployment serves all of the first.
ENGINE: tuple[Check, ...] = (
    ("engine", INFRASTRUCTURE, ("pytest", "-q", "tests/engine", "tests/infra", "tests/notebook", f"--ignore={OWN}")),
    ("engine: own projects", INFRASTRUCTURE, ("pytest", "-q", OWN)),
)
CLUSTERS: tuple[Check, ...] = (
    ("pods", INFRASTRUCTURE, ("pytest", "-q", "tests/pods/test_*.py")),
    ("cluster", INFRASTRUCTURE, ("pytest", "-q", "tests/cluster/test_*.py")),
)
WHERE_BUILT = {
    "kueue": ("cluster", ("tests/cluster/costly/test_queue.py",)),
    # On requests in flight, and without KEDA, it takes as long again.
    "keda": ("pods", ("tests/pods/costly/test_autoscaling.py", "-k", "not in-flight and not hpa")),
}
"""By controller, which check it is part of where the user's cache has it, and as what."""
PATIENCE_SECONDS = 45 * 60.0
"""How long after the checks have begun the clusters' programs must be there: 25 minutes' work for two idle cores."""
TOLD = "PENSTOCK_NOT_RUN"
"""Names a file to which is added what was not run."""


def main() -> int:
    """Runs the checks whose names have one of the words given, or all; the number that failed."""
    names = [name for name, *_ in (*SIDE_BY_SIDE, *ENGINE, *CLUSTERS)]
    for word in sys.argv[1:]:
        if not any(word in name for name in names):
            raise ToolError(f"no check's name has {word!r} in it; there are: {', '.join(names)}")
    cli = pulumi_cli.find()
    if cli is None:
        raise ToolError("the Pulumi CLI is missing; `make test` prepares it")
    environment = _environment(cli)
    until = time.monotonic() + PATIENCE_SECONDS
    absent = {"pods": kubelets.missing(), "cluster": control_plane.missing()}
    clusters = [check for check in _wanted(_clusters()) if not absent[check[0]]]
    with _built_meanwhile(bool(clusters), until) as built, ThreadPoolExecutor(2) as pool:
        run = partial(_run, environment=environment)
        others = pool.map(run, _wanted((*SIDE_BY_SIDE, *ENGINE)))
        found: list[tuple[str, bool]] = []
        outcome = built()
        if outcome is None:
            absent |= dict.fromkeys(absent, f"not built after {PATIENCE_SECONDS / 60:.0f} minutes")
        elif outcome == 0:
            found += map(run, clusters)
        else:
            found += [(f"{name} (not built)", False) for name, *_ in clusters]
        found += others
    for name, *_ in _wanted(CLUSTERS):
        if absent[name]:
            _not_run(f"NOT RUN: {name}: {absent[name]}")
    failed = [name for name, passed in found if not passed]
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return len(failed)


@contextmanager
def _built_meanwhile(needed: bool, until: float) -> Iterator[Callable[[], int | None]]:
    """Builds what clusters are made of, beside the checks and with a smaller share of the processors than they have.

    What it yields waits for the build's exit code, or gives up with None `until` a time of the monotonic clock.
    """
    if not needed:
        yield lambda: 0
        return

    def outcome() -> int | None:
        try:
            return building.wait(max(0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None

    command = ["nice", "-n", "5", str(INFRASTRUCTURE / "python"), "-m", "cluster", "build"]
    with subprocess.Popen(command, cwd=PROJECT, env={**os.environ, "PYTHONPATH": "tools"}) as building:
        try:
            yield outcome
        finally:
            building.terminate()


def _clusters() -> list[Check]:
    """Their checks, with what the user's cache has of the controllers that they do not build."""
    unbuilt = stages.unbuilt()
    further = {part: files for name, (part, files) in WHERE_BUILT.items() if name not in unbuilt}
    for name in unbuilt:
        part, (file, *_) = WHERE_BUILT[name]
        if _wanted([check for check in CLUSTERS if check[0] == part]):
            _not_run(f"NOT RUN: {file}: {name} is not built (make test-cluster-all builds it)")
    found: list[Check] = []
    for name, folder, (*command, pattern) in CLUSTERS:
        files = [str(path.relative_to(PROJECT)) for path in sorted(PROJECT.glob(pattern))]
        found.append((name, folder, (*command, *files, *further.get(name, ()))))
    return found


def _not_run(line: str) -> None:
    print(line)
    if file := os.environ.get(TOLD):
        with Path(file).open("a", encoding="utf-8") as told:
            told.write(f"{line}\n")


def _wanted(checks: Sequence[Check]) -> list[Check]:
    words = sys.argv[1:]
    return [check for check in checks if not words or any(word in check[0] for word in words)]


def _run(check: Check, environment: dict[str, str]) -> tuple[str, bool]:
    """(name, whether it passed); what it says is printed all at once in the end."""
    name, folder, (tool, *arguments) = check
    begin = time.monotonic()
    done = subprocess.run(
        [folder / "python", "-m", tool, *arguments],
        cwd=PROJECT,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    passed = done.returncode == 0
    ended = f"{'ok' if passed else 'FAILED'} ({time.monotonic() - begin:.0f} s)"
    print(f"== {name}\n{done.stdout.decode(errors='replace')}== {name}: {ended}", flush=True)
    return name, passed


def _environment(cli: pulumi_cli.PulumiCli) -> dict[str, str]:
    """The engine tests bring their own state; from here they have the CLI."""
    own = Project(PROJECT).variables(cli)
    wanted = ("PATH", "PULUMI_SKIP_UPDATE_CHECK", NO_PLUGINS)
    return {**os.environ, **{name: own[name] for name in wanted if name in own}}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ToolError as exc:
        sys.exit(f"error: {exc}")
