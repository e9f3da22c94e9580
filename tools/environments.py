"""The environments, each from its own lock: infrastructure (.venv), trainer/.venv, serving/.venv, policies/.venv; and
those of tools and tests in `.tools/`.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import uv
from common import PROJECT, TOOLS, ToolError, digest, run, say


@dataclass(frozen=True)
class Environment:
    """One environment, and the distributions of this project that are installed into it as they lie here."""

    member: str
    venv: Path
    editable: tuple[str, ...]
    minutes: int
    lock_options: tuple[str, ...] = ()
    extra: str = ""
    upon: Path | None = None
    """An environment whose packages it sees beside its own."""

    @property
    def lock(self) -> Path:
        """What it takes to run, without the extra."""
        return PROJECT / self.member / "requirements.txt"

    @property
    def runtime_lock(self) -> Path:
        """What it takes to run."""
        return self.lock.with_name(f"requirements-{self.extra}.txt") if self.extra else self.lock

    @property
    def test_lock(self) -> Path:
        """What the tests take beside it."""
        return PROJECT / self.member / "requirements-test.txt"


# It is installed from this checkout, so no lock can know its hash.
NO_TRAINER = ("--no-emit-package", "penstock-trainer")
ENVIRONMENTS = (
    Environment("modules", PROJECT / ".venv", ("modules",), 2, ("--all-extras",)),
    Environment("trainer", PROJECT / "trainer" / ".venv", ("trainer",), 3, ("--all-extras", *NO_TRAINER)),
    # It serves any model: the server imports TensorFlow only for one without a proven slim form.
    Environment("serving", PROJECT / "serving" / ".venv", ("trainer", "serving"), 2, NO_TRAINER, "tensorflow"),
)
# What the default image holds, for the tests that must do without TensorFlow.
SLIM = Environment("serving", TOOLS / "serving-slim", ("trainer", "serving"), 1)

# The policy pack: what `pulumi preview --policy-pack policies` runs in.
POLICIES = Environment("policies", PROJECT / "policies" / ".venv", (), 1)

# What executes the notebooks: it sees the trainer's packages, so nothing of them is installed twice.
TRAINER = PROJECT / "trainer" / ".venv"
ON_TRAINER = ("-c", "../trainer/requirements.txt")
NOTEBOOK = Environment("notebooks", TOOLS / "notebook", (), 1, ON_TRAINER, upon=TRAINER)
# What `make notebook` opens them with.
LAB = Environment("notebooks", TOOLS / "lab", (), 1, ON_TRAINER, "lab", TRAINER)

# What builds the pages from docs/.
SITE = Environment("tools/site", TOOLS / "site", (), 1)

# What `make audit` looks into the locks with.
AUDIT = Environment("tools/audit", TOOLS / "audit", (), 1)

# Clients of others that the server's tests cannot hold beside TensorFlow.
CLIENTS = Environment("tests/contract/clients", TOOLS / "clients", (), 1)

# What the measures of skew are compared with.
ORACLE = Environment("tests/unit/serving/skew/oracle", TOOLS / "oracle", (), 1)

# Linters that no environment of ours can hold.
LINTERS = Environment("tests/static", TOOLS / "linters", (), 1)

# What the function that guards a budget runs with, as Google builds it.
GUARD = Environment("modules/penstock/gcp/guard_function", TOOLS / "guard", (), 1)


def prepare(test: bool) -> None:
    """Brings every environment up to date; does nothing to one whose locks have not changed."""
    for environment in ENVIRONMENTS:
        _prepare(environment, test)
    if test:
        _prepare(POLICIES, test=True)
        _prepare(SLIM, test=False)
        _prepare(CLIENTS, test=False)
        _prepare(ORACLE, test=False)
        _prepare(NOTEBOOK, test=False)
        _prepare(SITE, test=False)
        _prepare(LINTERS, test=False)
        _prepare(GUARD, test=False)


def lock() -> None:
    """Resolves the dependencies anew; the files name no index, so that they work with any."""
    tool = uv.find()
    for environment in (*ENVIRONMENTS, POLICIES, LAB, SITE, AUDIT, CLIENTS, ORACLE, LINTERS, GUARD):
        say(f"locking {environment.member}")
        common = [tool, "pip", "compile", "--quiet", "--universal", "--python-version", "3.10"]
        common += ["--generate-hashes", "--no-header"]
        folder = PROJECT / environment.member
        own = [*environment.lock_options, "pyproject.toml"]
        run([*common, *own, "-o", environment.lock.name], f"locking {environment.member}", cwd=folder)
        if environment.extra:
            own += ["-c", environment.lock.name, "--extra", environment.extra, "-o", environment.runtime_lock.name]
            run([*common, *own], f"locking {environment.member} with {environment.extra}", cwd=folder)
        if environment in (AUDIT, CLIENTS, ORACLE, LAB, SITE, LINTERS, GUARD):
            continue
        test = ["-c", environment.runtime_lock.name, "--group", "pyproject.toml:test", "-o", "requirements-test.txt"]
        run([*common, *test], f"locking the tests of {environment.member}", cwd=folder)


def _prepare(environment: Environment, test: bool) -> None:
    stamp = environment.venv / "penstock.json"
    done: dict[str, str] = json.loads(stamp.read_text()) if stamp.exists() else {}
    # What the tests need stays where it was installed once: otherwise `up` and `test` would undo each other.
    with_test = test or "test" in done
    state = {"runtime": _runtime_digest(environment)} | ({"test": _test_digest(environment)} if with_test else {})
    if done.get("runtime") == state["runtime"] and (not test or done.get("test") == state["test"]):
        return
    name = "infrastructure" if environment.member == "modules" else environment.member
    name += " (slim)" if environment is SLIM else ""
    name += " (lab)" if environment is LAB else ""
    say(f"preparing the {name} environment (up to {environment.minutes} min the first time)")
    tool = uv.find()
    python = environment.venv / "bin" / "python"
    stamp.unlink(missing_ok=True)
    if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode if python.exists() else True:
        making = [tool, "venv", "--quiet", "--clear", "--python", sys.executable, environment.venv]
        run(making, f"making the {name} environment")
    locks = [environment.runtime_lock, *([environment.test_lock] if with_test else [])]
    run([tool, "pip", "sync", "--quiet", "--python", python, *locks], f"filling the {name} environment")
    if environment.upon:
        packages = python.parents[1] / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        seen = packages.relative_to(environment.venv)
        # `addsitedir` follows what the other environment links to, too.
        line = f"import site; site.addsitedir({str(environment.upon / seen)!r})"
        (packages / "upon.pth").write_text(line + "\n")
    members = [part for member in environment.editable for part in ("-e", PROJECT / member)]
    if members:
        run([tool, "pip", "install", "--quiet", "--python", python, "--no-deps", *members], f"linking {name} into it")
    stamp.write_text(json.dumps(state))


def _runtime_digest(environment: Environment) -> str:
    projects = [PROJECT / member / "pyproject.toml" for member in environment.editable]
    # An environment knows its own path: a moved checkout needs new ones.
    return digest(environment.runtime_lock, *projects, str(environment.venv))


def _test_digest(environment: Environment) -> str:
    return digest(_runtime_digest(environment), environment.test_lock)


def main() -> None:
    """`environments.py runtime|test|policies|audit|lab|lock`."""
    wanted = sys.argv[1] if len(sys.argv) == 2 else ""
    match wanted:
        case "lock":
            lock()
        case "policies":
            _prepare(POLICIES, test=False)
        case "audit":
            _prepare(AUDIT, test=False)
        case "lab":
            prepare(test=False)
            _prepare(LAB, test=False)
        case "runtime" | "test":
            prepare(test=wanted == "test")
        case _:
            raise ToolError(f"environments.py takes one of runtime, test, policies, audit, lab, lock; not {wanted!r}")


if __name__ == "__main__":
    try:
        main()
    except ToolError as exc:
        sys.exit(f"error: {exc}")
