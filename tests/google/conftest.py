"""A Pulumi project of its own, whose provider plugins are the stand-ins."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import cloud_storage
import google_stack
import pytest
import requests
import yaml
from listening import listening
from standin.cloud import Cloud

CHECKOUT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


class Stack:
    """One stack on the real engine."""

    def __init__(self, folder: Path, schemas: Path, name: str = "dev") -> None:
        self.folder, self.name, self.cloud = folder, name, Cloud(folder / "cloud")
        self.around: dict[str, str] = {}
        """Further variables of every command."""
        self._environment = _environment(folder, schemas)

    def program(self, text: str) -> None:
        """The project's program."""
        (self.folder / "program").mkdir(exist_ok=True)
        (self.folder / "program" / "__main__.py").write_text(textwrap.dedent(text))
        options = {"virtualenv": str(CHECKOUT / ".venv")}
        project = {"name": "trial", "runtime": {"name": "python", "options": options}, "main": "program"}
        (self.folder / "Pulumi.yaml").write_text(json.dumps(project))

    def environment(self, **settings: Any) -> None:
        """The project's own program and one of its environments, with what a test changes of `gcp` or `cluster`."""
        shutil.copytree(
            CHECKOUT / "stacks", self.folder / "stacks", ignore=shutil.ignore_patterns(".venv"), dirs_exist_ok=True
        )
        project = yaml.safe_load((CHECKOUT / "Pulumi.yaml").read_text())
        project["runtime"]["options"]["virtualenv"] = str(CHECKOUT / ".venv")
        (self.folder / "Pulumi.yaml").write_text(json.dumps(project))
        file = self.folder / "stacks" / f"Pulumi.{self.name}.yaml"
        config = yaml.safe_load((CHECKOUT / "stacks" / file.name).read_text())
        own = "penstock:cluster" if self.name == "cluster" else "penstock:gcp"
        config["config"].setdefault(own, {}).update(settings)
        if own == "penstock:gcp":
            # As `make` does.
            self.around["GOOGLE_PROJECT"] = config["config"][own].get("project", "")
        file.write_text(json.dumps(config))

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Starts the CLI in a session of its own."""
        return subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env={**self._environment, **self.around, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, expected: int = 0, **environment: str) -> str:
        """Runs the CLI to its end; what it said."""
        process = self.start(*arguments, **environment)
        said, _ = process.communicate(timeout=600)
        assert (process.returncode == 0) == (expected == 0), f"exit code {process.returncode}\n{said}"
        return said

    def operate(self, *arguments: str, expected: int = 0, **environment: str) -> str:
        """Runs the command `penstock` to its end; what it said."""
        command = [CHECKOUT / ".venv/bin/penstock", *arguments, "--stack", self.name]
        own = {**self._environment, **self.around, **environment}
        done = subprocess.run(command, cwd=self.folder, env=own, capture_output=True, text=True, check=False)
        assert done.returncode == expected, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def make(self, command: str, expected: int = 0, **environment: str) -> str:
        """What `make up`, `make down` or `make plan` runs, to its end, from a copy of the tools; what it said."""
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / "tools", self.folder / "tools", ignore=ignored, dirs_exist_ok=True)
        if not (self.folder / "policies").exists():
            (self.folder / "policies").symlink_to(CHECKOUT / "policies")
        tool = ["tools/plan.py"] if command == "plan" else ["tools/stack.py", command]
        program = [CHECKOUT / ".venv/bin/python", *tool, self.name]
        own = {**self._environment, **self.around, "PENSTOCK_HOME": str(self.folder), **environment}
        done = subprocess.run(program, cwd=self.folder, env=own, capture_output=True, text=True, check=False)
        assert done.returncode == expected, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def up(self, *arguments: str, **further: Any) -> str:
        """`pulumi up`, without asking."""
        return self.run("up", "--yes", "--skip-preview", "--stack", self.name, *arguments, **further)

    def steps(self, *arguments: str, **environment: Any) -> dict[str, str]:
        """What `pulumi preview` would do: operation by type and name; what stays the same is left out."""
        return google_stack.plan(self.run("preview", "--json", "--stack", self.name, *arguments, **environment))

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        said = self.run("stack", "output", "--json", "--stack", self.name)
        return json.loads(said[said.index("{") :])

    def state(self) -> list[dict[str, Any]]:
        """The resources of the state."""
        return json.loads(self.run("stack", "export", "--stack", self.name))["deployment"].get("resources", [])


def _environment(folder: Path, schemas: Path) -> dict[str, str]:
    plugins = folder / "plugins"
    plugins.mkdir(parents=True)
    for package in ("gcp", "kubernetes"):
        script = plugins / f"pulumi-resource-{package}"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m standin.provider {package} "$@"\n')
        script.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "PENSTOCK_"))}
    (folder / "state").mkdir()
    return {
        **kept,
        "PATH": f"{plugins}{os.pathsep}{CHECKOUT / '.tools/pulumi/bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(HERE),
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "trial",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        "PENSTOCK_STANDIN_CLOUD": str(folder / "cloud"),
        "PENSTOCK_STANDIN_SCHEMAS": str(schemas),
    }


@pytest.fixture(scope="session")
def policed() -> tuple[str, str]:
    """Arguments with which the policy pack judges a preview or a deployment."""
    return "--policy-pack", str(CHECKOUT / "policies")


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what was read from the SDKs is kept: reading takes seconds."""
    return Path(os.environ.get("PENSTOCK_STANDIN_SCHEMAS") or tmp_path_factory.mktemp("schemas"))


@pytest.fixture(scope="session")
def make_stack(schemas: Path) -> Callable[[Path, str], Stack]:
    """Makes a stack with a program in a folder."""

    def make(folder: Path, program: str) -> Stack:
        made = Stack(folder, schemas)
        made.program(program)
        made.run("stack", "init", "dev")
        return made

    return make


@pytest.fixture
def stack(tmp_path: Path, make_stack: Callable[[Path, str], Stack]) -> Callable[[str], Stack]:
    """Makes a stack with a program."""
    return lambda program: make_stack(tmp_path, program)


@pytest.fixture(scope="session")
def make_environment(schemas: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Stack]:
    """Makes one of the project's own stacks."""

    def make(name: str, **settings: Any) -> Stack:
        made = Stack(tmp_path_factory.mktemp(name), schemas, name)
        made.environment(**settings)
        made.run("stack", "init", name)
        return made

    return make


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    """Of as much of an API server as a preview asks: it knows JobSets and a claim, and its caller may do all."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            kinds = [{"name": "jobsets", "kind": "JobSet", "namespaced": True, "verbs": []}]
            default = {"storageclass.kubernetes.io/is-default-class": "true"}
            classes = [{"metadata": {"name": "shared", "annotations": default}}]
            answers = {
                "/version": {"major": "1", "minor": "31", "gitVersion": "v1.31.0"},
                "/apis/jobset.x-k8s.io/v1alpha2": {"resources": kinds},
                "/api/v1/namespaces/penstock-cluster/persistentvolumeclaims/raw": {"metadata": {"name": "raw"}},
                "/apis/storage.k8s.io/v1/storageclasses": {"items": classes},
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": {"status": {"allowed": True}},
            }
            found = answers.get(self.path.partition("?")[0])
            data = json.dumps(found or {"message": f"{self.path} not found"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 (the name is the base class's)

        def log_message(self, *arguments: Any) -> None:
            """The test looks at what came of it."""

    with listening(Handler) as url:
        yield _kubeconfig(tmp_path / "kubeconfig.json", url)


def _kubeconfig(file: Path, url: str) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "trial",
        "clusters": [{"name": "trial", "cluster": {"server": url}}],
        "users": [{"name": "trial", "user": {}}],
        "contexts": [{"name": "trial", "context": {"cluster": "trial", "user": "trial"}}],
    }
    file.write_text(json.dumps(content))
    return file


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """The address of an emulator with some buckets."""
    with cloud_storage.emulator() as host:
        for bucket in ("staging", "prod", "store"):
            made = requests.post(f"http://{host}/storage/v1/b?project=test", json={"name": bucket}, timeout=30)
            made.raise_for_status()
        yield f"http://{host}"
