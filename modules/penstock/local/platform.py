"""The local target: this machine's processes, folders and ports behind the platform interface."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi

from penstock import platform
from penstock.errors import PenstockError
from penstock.local import engine, fingerprint
from penstock.local.job import LocalJob
from penstock.local.service import LocalService
from penstock.local.storage import LocalStorage

HOST = "127.0.0.1"
MODULES = {platform.Program.TRAINER: "penstock_trainer", platform.Program.SERVER: "penstock_serving"}


class LocalPlatform:
    """Runs jobs as supervised processes and services as servers on the loopback address.

    `project` is the folder that holds the programs' environments (`trainer/.venv`, `serving/.venv`), `home` the one for
    artifacts, logs and state.
    """

    def __init__(self, project: Path, home: Path, stack: str) -> None:
        self._project = project
        self._folder = home / stack
        self._fingerprints: dict[platform.Program, str] = {}
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
            "program": self._program(job.program),
            "roles": roles,
            "success_role": job.success_role,
            "restarts": job.restarts,
            "digests": dict(job.digests),
            "fingerprint": {
                "code": self._fingerprint(job.program),
                "files": fingerprint.of_files(job.files, self._project),
            },
            "cwd": str(self._project),
            "folder": str(self._folder / "jobs" / name),
            "logs": str(self._folder / "logs" / name),
        }
        resource = LocalJob(name, props, opts)
        return platform.Artifact(resource.path, resource.digest, resource.counts, resource.metrics)

    def service(self, name: str, service: platform.Service, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """Keeps one supervisor running, and by it as many servers as the load asks for within the range."""
        if service.model is None:
            raise PenstockError(f"service {name} has no model: the local platform serves sealed models")
        observations = self._folder / "observations" / name
        access = self._access(service)
        props = {
            "program": [
                *self._program(service.program, ".supervisor"),
                *("--observations", str(observations)),
                *service.monitoring,
                *(word for argument, path in access.items() for word in (argument, str(path))),
            ],
            # Their content is no one's to keep: that it changed is known by when it did.
            "access": {str(path): str(path.stat().st_mtime_ns) for path in access.values()},
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
            "host": HOST,
            "port": service.port,
            "probe": service.probe,
            "fingerprint": self._fingerprint(service.program),
            "cwd": str(self._project),
            "log": str(self._folder / "logs" / name / "server.log"),
            "record": str(self._folder / "services" / f"{name}.json"),
            "folder": str(self._folder / "services" / name),
        }
        return LocalService(name, props, opts).url

    def estimated_cost(self) -> Mapping[str, Any]:
        """Nothing is rented."""
        return {"usd_per_hour": 0, "note": "runs on this machine; nothing is rented"}

    def _access(self, service: platform.Service) -> dict[str, Path]:
        """The files by which the server says who may ask, by its arguments' names."""
        given = {
            "--token-file": service.token_file,
            "--certificate": service.certificate,
            "--private-key": service.private_key,
        }
        files = {argument: self._project / path for argument, path in given.items() if path is not None}
        for argument, path in files.items():
            if not os.access(path, os.R_OK):
                setting = argument.removeprefix("--").replace("-", "_")
                raise PenstockError(f"setting {setting!r} names {path}, which is not there or cannot be read")
        return files

    def _program(self, program: platform.Program, module: str = "") -> list[str]:
        python = self._project / program.value / ".venv" / "bin" / "python"
        if not os.access(python, os.X_OK):
            raise PenstockError(f"the {program.value} environment is not there ({python}); `make up` makes it")
        return [str(python), "-m", MODULES[program] + module]

    def _fingerprint(self, program: platform.Program) -> str:
        if program not in self._fingerprints:
            self._fingerprints[program] = fingerprint.of_sources(
                # The server runs on the trainer's light core.
                [self._project / each.value / MODULES[each] for each in {program, platform.Program.TRAINER}],
                self._project / program.value / "requirements.txt",
            )
        return self._fingerprints[program]
