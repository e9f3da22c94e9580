"""The local target: this machine's processes, folders and ports behind the platform interface."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi

from penstock import platform
from penstock.errors import PenstockError
from penstock.local import engine, fingerprint, programs
from penstock.local.job import LocalJob
from penstock.local.page import LocalPage
from penstock.local.service import LocalService
from penstock.local.storage import LocalStorage

HOST = "127.0.0.1"
COST = {"usd_per_hour": 0, "note": "runs on this machine; nothing is rented"}


class LocalPlatform:
    """Runs jobs as supervised processes and services as servers on the loopback address.

    `project`: the folder that relative paths start at. Default: the Pulumi project's.
    `home`: for artifacts, logs and state, by stack. Default: what PENSTOCK_HOME names, else `.penstock` in the project.
    `stack`: default: the one that is deployed.
    `trainer`, `serving`: the environments (a folder, or its Python) that the two programs are installed in. Default:
    those that PENSTOCK_TRAINER and PENSTOCK_SERVING name, else `trainer/.venv` and `serving/.venv` in the project, else
    the environment of the Pulumi program itself.
    """

    def __init__(
        self,
        project: Path | str | None = None,
        home: Path | str | None = None,
        stack: str | None = None,
        *,
        trainer: Path | str | None = None,
        serving: Path | str | None = None,
    ) -> None:
        self._project = Path(project or pulumi.get_root_directory() or Path.cwd()).absolute()
        chosen = Path(home or os.environ.get("PENSTOCK_HOME") or ".penstock").expanduser()
        self._folder = self._project / chosen / (stack or pulumi.get_stack())
        self._named = {
            program: Path(place) if place else None
            for program, place in ((platform.Program.TRAINER, trainer), (platform.Program.SERVER, serving))
        }
        self._found: dict[platform.Program, programs.Installed] = {}
        self._fingerprints: dict[tuple[platform.Program, tuple[str, ...]], str] = {}
        engine.end_with_engine()

    def storage(self, name: str, keep: Sequence[str], opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """The folder `artifacts` of the stack."""
        return LocalStorage(name, self._folder, keep, opts).root

    def job(self, name: str, job: platform.Job, opts: pulumi.ResourceOptions) -> platform.Artifact:
        """Runs the job's replicas under a supervisor."""
        roles = {
            role: {
                "command": list(details.command),
                "replicas": details.replicas,
                "environment": dict(details.environment),
                "restarts": details.restarts,
            }
            for role, details in job.roles.items()
            if details.replicas > 0
        }
        props = {
            "program": self._program(job.program).command(),
            "roles": roles,
            "success_role": job.success_role,
            "restarts": job.restarts,
            "digests": dict(job.digests),
            "fingerprint": {
                "code": self._fingerprint(job.program, *job.modules),
                "files": fingerprint.of_files(job.files, self._project),
            },
            "cwd": str(self._project),
            "folder": str(self._folder / "jobs" / name),
            "logs": str(self._folder / "logs" / name),
        }
        resource = LocalJob(name, props, opts)
        return platform.Artifact(resource.path, resource.digest, resource.counts, resource.metrics)

    def service(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """Keeps one supervisor running, and by it as many servers as the load asks for within the range.

        What serves no model is a page for people: one process.
        """
        if service.model is None:
            return self._page(name, service, opts)
        observations = self._folder / "observations" / name
        files = self._files(service)
        props = {
            "program": [
                *self._program(service.program).command(".supervisor"),
                *("--observations", str(observations)),
                *service.monitoring,
                *(("--grpc-port", str(service.grpc_port)) if service.grpc_port else ()),
                *(word for argument, path in files.items() for word in (argument, str(path))),
            ],
            # Their content is no one's to keep: that it changed is known by when it did.
            "access": {str(path): str(path.stat().st_mtime_ns) for path in files.values()},
            "tls": service.certificate is not None,
            "environment": dict(service.environment),
            "path": service.model["path"],
            "digest": service.model["digest"],
            "model_name": service.model_name,
            "traffic": dict(service.traffic) if service.traffic else None,
            "rollout": dict(service.rollout) if service.rollout else None,
            "min_replicas": service.min_replicas,
            "max_replicas": service.max_replicas,
            "idle_seconds": service.idle_seconds,
            **self._listens(name, service),
            "folder": str(self._folder / "services" / name),
        }
        return LocalService(name, props, opts).url

    def page(self, path: pulumi.Output[str]) -> pulumi.Output[str]:
        """The file."""
        return pulumi.Output.concat("file://", path)

    def estimated_cost(self) -> Mapping[str, Any]:
        """Nothing is rented."""
        return COST

    def _page(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        props = {
            "command": [*self._program(service.program).command(), *service.command],
            **self._listens(name, service),
        }
        return LocalPage(name, props, opts).url

    def _listens(self, name: str, service: platform.Service) -> dict[str, Any]:
        """What any process that answers at a port is told of itself."""
        return {
            "host": HOST,
            "port": service.port,
            "probe": service.probe,
            "fingerprint": self._fingerprint(service.program),
            "cwd": str(self._project),
            "log": str(self._folder / "logs" / name / "server.log"),
            "record": str(self._folder / "services" / f"{name}.json"),
        }

    def _files(self, service: platform.Service) -> dict[str, Path]:
        """The files by which the server knows who may ask and whose models it serves, by its arguments' names."""
        given = {
            "--token-file": service.token_file,
            "--certificate": service.certificate,
            "--private-key": service.private_key,
            "--verify-key": service.verify_key,
        }
        files = {argument: self._project / path for argument, path in given.items() if path is not None}
        for argument, path in files.items():
            if not os.access(path, os.R_OK):
                setting = argument.removeprefix("--").replace("-", "_")
                raise PenstockError(f"setting {setting!r} names {path}, which is not there or cannot be read")
        return files

    def _program(self, program: platform.Program) -> programs.Installed:
        if program not in self._found:
            self._found[program] = programs.find(program, self._project, self._named[program])
        return self._found[program]

    def _fingerprint(self, program: platform.Program, *modules: str) -> str:
        if (program, modules) not in self._fingerprints:
            self._fingerprints[program, modules] = self._program(program).fingerprint(modules)
        return self._fingerprints[program, modules]
