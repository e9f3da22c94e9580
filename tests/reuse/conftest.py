"""Foreign programs: projects outside the checkout, whose environments have its wheels and nothing of its path."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import copier
import pytest
import uv
import yaml

from tests.conftest import free_port

CHECKOUT = Path(__file__).resolve().parents[2]
PATH = os.pathsep.join([str(CHECKOUT / ".tools/pulumi/bin"), os.environ["PATH"]])
"""With the engine on it."""
PACKAGE = "letters"
"""The problem's package in the repository, which the template calls otherwise by default."""
DISTRIBUTIONS = {"modules": "penstock", "trainer": "penstock_trainer", "serving": "penstock_serving"}


class Program:
    """A Pulumi project in a folder of its own, deployed by the real engine as its author would."""

    def __init__(self, folder: Path, environments: dict[str, Path]) -> None:
        self.folder, self.port = folder, free_port()
        for name, environment in environments.items():
            own = folder / ("" if name == "modules" else name) / ".venv"
            own.parent.mkdir(exist_ok=True)
            if not own.exists():
                own.symlink_to(environment)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "PENSTOCK_"))}
        self.environment = {
            **kept,
            "PATH": PATH,
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "foreign",
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
        (folder / "state").mkdir()
        self.run("stack", "init", "local")

    def configure(self, **settings: Any) -> None:
        """The stack's settings."""
        name = yaml.safe_load((self.folder / "Pulumi.yaml").read_text())["name"]
        file = self.folder / "Pulumi.local.yaml"
        before = yaml.safe_load(file.read_text()) if file.exists() else {}
        config = {f"{name}:{key}": value for key, value in settings.items()}
        file.write_text(yaml.safe_dump({**before, "config": {**before.get("config", {}), **config}}))

    def run(self, *arguments: str, expected: int = 0) -> str:
        """Runs the CLI to its end; what it said."""
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        assert (done.returncode == 0) == (expected == 0), f"exit code {done.returncode}\n{done.stdout}"
        return done.stdout

    def up(self, expected: int = 0) -> str:
        """`pulumi up`, without asking."""
        return self.run("up", "--yes", "--skip-preview", expected=expected)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        said = self.run("stack", "output", "--json")
        return json.loads(said[said.index("{") :])

    def resources(self) -> dict[str, dict[str, Any]]:
        """The outputs of its resources, by name."""
        state = json.loads(self.run("stack", "export"))["deployment"].get("resources", [])
        return {each["urn"].rpartition("::")[2]: each.get("outputs", {}) for each in state}

    def artifact(self, name: str) -> dict[str, str]:
        """Path and digest of what a stage has left."""
        return {key: self.resources()[name][key] for key in ("path", "digest")}

    def destroy(self) -> None:
        """Nothing of it runs any more."""
        self.run("destroy", "--yes", "--skip-preview")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three distributions as they would be published, by their folder's name."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in DISTRIBUTIONS:
        run_uv("build", "--wheel", "--out-dir", folder, CHECKOUT / name)
    return {name: next(folder.glob(f"{module}-*.whl")) for name, module in DISTRIBUTIONS.items()}


@pytest.fixture(scope="session")
def foreign(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with `penstock` from its wheel, resolved by its own metadata."""
    folder = tmp_path_factory.mktemp("foreign") / ".venv"
    run_uv("venv", "--python", sys.executable, folder)
    # The versions are the lock's, so that the tests do not change with the day.
    lock = CHECKOUT / "modules/requirements.txt"
    run_uv("pip", "install", "--python", folder / "bin/python", "--constraint", lock, wheels["modules"])
    return folder


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The checkout as it lies, as a release in a Git repository that pip can clone; what pip calls it."""
    folder = tmp_path_factory.mktemp("published")
    listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *DISTRIBUTIONS)
    listed = subprocess.run(listing, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, folder / name)
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    for command in (("init",), ("add", "--all"), (*identity, "commit", "--message=v0.1.0"), ("tag", "v0.1.0")):
        subprocess.run(["git", *command], cwd=folder, capture_output=True, check=True)
    # With a host, which the pip of older Pythons wants to see.
    return f"git+file://localhost{folder}@v0.1.0"


@pytest.fixture(scope="session")
def repository(published: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository made from the template, under a name of its own, after the first command of its README.

    Its three environments are made by the template's own commands, with the checkout as it lies in place of a release;
    what their distributions' metadata ask for of others, pip finds to be there already: the checkout's.
    """
    folder = from_template(tmp_path_factory.mktemp("repository") / PACKAGE, package=PACKAGE, penstock=published)
    python = folder.with_name("python")
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("furnished.py")}" "$@"\n')
    python.chmod(0o755)
    make(folder, "environments", PYTHON=str(python))
    return folder


@pytest.fixture(scope="session")
def environments(foreign: Path, repository: Path) -> dict[str, Path]:
    """For a program elsewhere: `penstock` alone, and the repository's trainer and server."""
    return {"modules": foreign, **{name: repository / name / ".venv" for name in ("trainer", "serving")}}


@pytest.fixture(scope="session")
def carried(repository: Path, environments: dict[str, Path]) -> Iterator[Program]:
    """The repository's own program after `pulumi up`: its model is served."""
    program = Program(repository, environments)
    program.configure(trials=1, processes=1, epochs=1, port=program.port)
    program.up()
    yield program
    program.destroy()


@pytest.fixture
def example(tmp_path: Path, environments: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[Program]:
    """The example that the test's parameter names, as a project that nothing was run of."""
    folder = tmp_path / request.param
    shutil.copytree(CHECKOUT / "examples" / request.param, folder)
    program = Program(folder, environments)
    yield program
    program.destroy()


@contextmanager
def consuming(folder: Path, environments: dict[str, Path], foreign: Path) -> Iterator[Program]:
    """The program in `folder`, for whose engine the component package is on PATH, where installing it puts it."""
    program = Program(folder, environments)
    program.environment["PATH"] = os.pathsep.join([str(foreign / "bin"), program.environment["PATH"]])
    yield program
    program.destroy()


def from_template(folder: Path, **answers: str) -> Path:
    """A repository made from the template by these answers and the defaults."""
    answers = {"penstock": "git+https://git.example.com/penstock@v0.1.0", **answers}
    copier.run_copy(str(CHECKOUT / "templates/problem"), folder, data=answers, defaults=True, quiet=True)
    return folder


def make(folder: Path, target: str, **variables: str) -> str:
    """Runs `make` in a repository, which must succeed; what it said."""
    command = ["make", target, *(f"{name}={value}" for name, value in variables.items())]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_uv(*arguments: object) -> None:
    """Runs uv, which must succeed."""
    done = subprocess.run([uv.find(), *map(str, arguments), "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
