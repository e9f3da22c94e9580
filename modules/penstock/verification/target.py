"""A deployed endpoint, as the stack's state describes it: what the checks compare the running one with."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.command import asking
from penstock.command.answering import CONFIG_MAP, answering
from penstock.command.state import LOCAL_JOB, State, argument, supervisor
from penstock.command.status import WORKLOAD
from penstock.errors import PenstockError
from penstock.kubernetes.api import Api
from penstock.local import versions
from penstock.local.spec import read_json

POD_PYTHON = "python"


@dataclass(frozen=True)
class Target:
    """What is to be there."""

    state: State
    name: str
    """Of the model, in URLs."""
    url: str
    """Base URL, as the machine or pod that serves reaches it."""
    python: str
    """A Python where it serves."""
    port: int
    lowest: int
    highest: int
    models: Mapping[str, str]
    """The folders of the models that may answer, by their digests."""
    split: bool
    """Whether the stack's `traffic` says which of them do."""
    token_file: str | None = None
    certificate: str | None = None
    pid: int | None = None
    """Of the supervisor, on a machine."""
    stages: tuple[str, ...] = ()
    """Folders of artifact stores whose stages must not be running, on a machine."""
    namespace: str = ""
    """On a cluster."""
    workload: str = ""
    """Name of the Deployment, on a cluster."""
    scaled: bool = False
    """Whether something of the cluster sets the number of its pods."""
    api: Api | None = field(default=None, repr=False)

    @classmethod
    def of(cls, state: State) -> "Target":
        """The endpoint of a stack; PenstockError where it has none that can be verified."""
        if state.service is not None:
            return cls._local(state, state.service)
        if state.deployment is not None:
            return cls._cluster(state, state.deployment)
        raise PenstockError(
            f"stack {state.stack} has no endpoint on a machine or a cluster: one on Cloud Run cannot be verified yet"
        )

    @property
    def hosts(self) -> list[str]:
        """Where it serves, as testinfra names it."""
        if self.api is None:
            return ["local://"]
        ready = [pod for pod in self.pods() if _ready(pod)]
        return [
            f"kubectl://{pod['metadata']['name']}?namespace={self.namespace}"
            f"&container={pod['spec']['containers'][0]['name']}"
            for pod in ready
        ]

    def pods(self) -> list[dict[str, Any]]:
        """The endpoint's pods that are not being deleted."""
        assert self.api is not None
        found = self.api.items(
            f"/api/v1/namespaces/{self.namespace}/pods", {"labelSelector": f"{WORKLOAD}={self.workload}"}
        )
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ask(self, host: Any, path: str, body: Any = None, token: bool = True) -> dict[str, Any]:
        """What the endpoint answers on a host: its status, the digest in its header, its JSON."""
        question = {"url": f"{self.url}{path}", "body": body, "certificate": self.certificate}
        question["token_file"] = self.token_file if token else None
        program = Path(asking.__file__).read_text(encoding="utf-8")
        command = shlex.join([self.python, "-c", program, json.dumps(question)])
        done = host.run(command)
        assert done.rc == 0, f"{path} was not answered: {done.stderr.strip().rpartition(chr(10))[2]}"
        return json.loads(done.stdout)

    @classmethod
    def _local(cls, state: State, service: Mapping[str, Any]) -> "Target":
        program: list[str] = service["program"]
        return cls(
            state,
            name=service["model_name"],
            url=service["url"],
            python=program[0],
            port=int(service["port"]),
            lowest=int(service["min_replicas"]),
            highest=int(service["max_replicas"]),
            models=_answering(service),
            split=bool(service.get("traffic")),
            token_file=argument(program, "--token-file"),
            certificate=argument(program, "--certificate"),
            pid=supervisor(service).pid,
            stages=tuple(str(Path(path).parents[1]) for path in _artifacts(state)),
        )

    @classmethod
    def _cluster(cls, state: State, deployment: Mapping[str, Any]) -> "Target":
        metadata, maps = deployment["metadata"], [each for each in state.resources if each.type == CONFIG_MAP]
        plans = {each.outputs["metadata"]["name"]: each.outputs for each in maps}
        told = answering(deployment, plans.get)
        lowest, highest, scaled = _range(state, deployment)
        return cls(
            state,
            name=told.name,
            url=f"http://127.0.0.1:{told.port}",
            python=POD_PYTHON,
            port=told.port,
            lowest=lowest,
            highest=highest,
            models={each.digest: each.path for each in told.models.values() if each.weight},
            split=told.split,
            namespace=metadata["namespace"],
            workload=metadata["name"],
            scaled=scaled,
            api=Api(*state.cluster),
        )


def _artifacts(state: State) -> list[str]:
    """The folders of the artifacts that stages of this machine have left."""
    return [job.outputs["path"] for job in state.jobs if job.kind == LOCAL_JOB and job.outputs.get("path")]


def _answering(service: Mapping[str, Any]) -> dict[str, str]:
    """The models that the endpoint's plan lets answer: the newest, those its traffic names, or any in a rollout."""
    if not service.get("traffic") and not service.get("rollout"):
        return {service["digest"]: service["path"]}
    known: list[versions.Version] = read_json(Path(service["folder"]) / "versions.json") or []
    numbers = {number for number, weight in versions.resolved(service.get("traffic") or {}, known).items() if weight}
    return {each["digest"]: each["path"] for each in known if not numbers or str(each["number"]) in numbers}


def _range(state: State, deployment: Mapping[str, Any]) -> tuple[int, int, bool]:
    """Lowest and highest number of pods, and whether something scales the Deployment between them."""
    for each in state.resources:
        spec: Mapping[str, Any] = each.outputs.get("spec") or {}
        if each.type.endswith(":HorizontalPodAutoscaler"):
            return int(spec["minReplicas"]), int(spec["maxReplicas"]), True
        if each.type.endswith(":ScaledObject"):
            return int(spec["minReplicaCount"]), int(spec["maxReplicaCount"]), True
    replicas = int(deployment["spec"]["replicas"])
    return replicas, replicas, False


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
