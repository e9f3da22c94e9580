"""What this machine lacks for a stack, each with its cure. Asks only this machine, and whom the settings name."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil

from penstock.command import cli, interrupted
from penstock.command.project import Project
from penstock.errors import PenstockError
from penstock.kubernetes.api import Api
from penstock.local import ports, programs
from penstock.local.platform import HOST
from penstock.local.server import recorded
from penstock.platform import Program

GIB = 2**30
DISK_GIB, MEMORY_GIB = 3.0, 2.0
"""What the bundled problem takes with its environments, and what its training takes at the least."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    said: str
    cure: str = ""


def findings(project: Project, stack: str) -> Iterator[Finding]:
    """Everything that was looked at, good or not."""
    platform = project.setting(stack, "platform") or "local"
    yield _python()
    yield _cli(project)
    if platform == "local":
        yield from _environments(project)
        yield from _ports(project, stack)
        yield _memory()
    yield _disk(project)
    yield from _plugins(project, platform)
    if platform == "cluster":
        yield _cluster(project, stack)
    if platform == "gcp":
        yield _google()
    yield from _problem(project, stack)
    yield from _locks(project, stack)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    good = (3, 10) <= sys.version_info[:2] < (3, 14)
    return Finding("Python", good, version, "" if good else "make an environment with Python 3.10 to 3.13")


def _cli(project: Project) -> Finding:
    found = project.cli
    if found is not None:
        return Finding("Pulumi CLI", True, f"{found.folder}")
    wrong = cli.wrong(Path(shutil.which("pulumi") or project.root / ".tools" / "pulumi" / "bin" / "pulumi"))
    return Finding(
        "Pulumi CLI", False, str(wrong), f"`make up` installs one; or install {cli.OLDEST} or later yourself"
    )


def _environments(project: Project) -> Iterator[Finding]:
    for program in Program:
        what, module = f"{program.value} environment", programs.MODULES[program]
        try:
            python = programs.find(program, project.root, None).python
        except PenstockError as exc:
            yield Finding(what, False, str(exc), "`make up` in a checkout; elsewhere as said here")
            continue
        done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, text=True, check=False)
        said = done.stderr.strip().rpartition("\n")[2] or f"{python}"
        cure = f"`{python} -m pip install '{programs.NEEDED[program]}'`" if done.returncode else ""
        yield Finding(what, not cure, said, cure)


def _ports(project: Project, stack: str) -> Iterator[Finding]:
    own = [recorded(file) for file in (project.home / stack / "services").glob("*.json")]
    pids = [identity.pid for identity in own if identity is not None and identity.alive()]
    for setting in ("port", "tensorboard_port"):
        port = int(project.setting(stack, setting) or 0)
        if port == 0:
            continue
        what = f"port {port} ({setting})"
        if ports.is_free(HOST, port):
            yield Finding(what, True, "free")
            continue
        holder = ports.holder(port)
        ours = any(f"(pid {pid})" in holder for pid in [*pids, *_children(pids)])
        cure = f"end that process, or `pulumi config set {setting} {port + 1} -s {stack}`"
        yield Finding(what, ours, f"used by {holder}{', this stack' if ours else ''}", "" if ours else cure)


def _children(pids: list[int]) -> list[int]:
    found: list[int] = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            found += [child.pid for child in psutil.Process(pid).children()]
    return found


def _memory() -> Finding:
    gib = psutil.virtual_memory().available / GIB
    cure = (
        ""
        if gib >= MEMORY_GIB
        else f"{MEMORY_GIB:g} GiB are needed: end other programs, or set fewer `workers` and `trial_processes`"
    )
    return Finding("memory", not cure, f"{gib:.1f} GiB available", cure)


def _disk(project: Project) -> Finding:
    place = project.home if project.home.exists() else project.root
    gib = shutil.disk_usage(place).free / GIB
    cure = "" if gib >= DISK_GIB else f"make {DISK_GIB:g} GiB free, or name another place by PENSTOCK_HOME"
    return Finding("disk", not cure, f"{gib:.1f} GiB free at {place}", cure)


def _plugins(project: Project, platform: str) -> Iterator[Finding]:
    needed = {"local": (), "cluster": ("kubernetes",), "gcp": ("gcp", "kubernetes")}.get(platform, ())
    found = project.cli
    for name in needed:
        what, program = f"plugin {name}", f"pulumi-resource-{name}"
        listed = _listed(project, found) if found else []
        if shutil.which(program) or name in listed:
            yield Finding(what, True, shutil.which(program) or "installed")
        else:
            cure = f"`pulumi plugin install resource {name}`, or put {program} on PATH"
            yield Finding(what, False, "neither installed nor on PATH", cure)


def _listed(project: Project, found: cli.PulumiCli) -> list[str]:
    environment = {**os.environ, **project.variables(found)}
    command = [found.folder / "pulumi", "plugin", "ls", "--json"]
    done = subprocess.run(command, env=environment, cwd=project.root, capture_output=True, text=True, check=False)
    return [each["name"] for each in json.loads(done.stdout or "[]")]


def _cluster(project: Project, stack: str) -> Finding:
    settings: dict[str, Any] = json.loads(project.setting(stack, "cluster") or "{}")
    kubeconfig = settings.get("kubeconfig") or os.environ.get("KUBECONFIG") or "~/.kube/config"
    try:
        api = Api(str(project.root / Path(kubeconfig).expanduser()), settings.get("context"))
        version = api.request("GET", "/version")["gitVersion"]
    except PenstockError as exc:
        return Finding(
            "cluster", False, str(exc), "name a kubeconfig and context that reach your cluster: docs/kubernetes.md"
        )
    return Finding("cluster", True, f"{api.server} of context {api.context}, Kubernetes {version}")


def _google() -> Finding:
    from google import auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        _, project = cast(Any, auth).default()
    except DefaultCredentialsError:
        return Finding("Google sign-in", False, "nobody is signed in", "`gcloud auth application-default login`")
    return Finding("Google sign-in", True, f"signed in, project {project}")


def _problem(project: Project, stack: str) -> Iterator[Finding]:
    problem = project.setting(stack, "problem")
    if problem is not None and problem.endswith(".py"):
        there = (project.root / problem).is_file()
        cure = "" if there else f"`pulumi config set problem PATH -s {stack}`, from {project.root}"
        yield Finding("problem", there, problem if there else f"{project.root / problem} is not there", cure)


def _locks(project: Project, stack: str) -> Iterator[Finding]:
    for who, gone in interrupted.holders(project.backend, stack) if project.backend else []:
        cure = f"`penstock unlock -s {stack}`" if gone else "wait for it to end"
        yield Finding("lock", not gone, f"stack {stack} is held by {who}, which {'is gone' if gone else 'runs'}", cure)
