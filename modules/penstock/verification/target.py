"""A deployed endpoint, as the stack's state describes it: what the checks compare the running one with."""

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from penstock.command import asking
from penstock.command.answering import CONFIG_MAP, answering
from penstock.command.cloud_run import CloudRun
from penstock.command.pods import of_workload
from penstock.command.state import LOCAL_JOB, State, argument, supervisor
from penstock.errors import PenstockError
from penstock.kubernetes.api import Api
from penstock.kubernetes.knative import SCALING
from penstock.kubernetes.verdict import is_ready
from penstock.local import versions
from penstock.local.spec import read_json

POD_PYTHON = "python"


class Range(NamedTuple):
    """How many replicas there may be."""

    lowest: int
    highest: int
    scaled: bool = False
    """Whether something of the cluster sets their number."""


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
    ranges: Mapping[str, Range]
    """Of the endpoint's workload by its name; behind a Gateway, of each version's."""
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
    knative: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of a workload that Knative looks after, the name of its Knative Service."""
    api: Api | None = field(default=None, repr=False)
    cloud_run: CloudRun | None = None

    @classmethod
    def of(cls, state: State) -> "Target":
        """The endpoint of a stack; PenstockError where it has none that can be verified."""
        if state.service is not None:
            return cls._local(state, state.service)
        if state.servers:
            return cls._cluster(state, state.servers)
        if state.cloud_run is not None:
            return cls._on_cloud_run(state, CloudRun.of(state.cloud_run))
        raise PenstockError(f"stack {state.stack} has no endpoint that could be verified")

    @property
    def checks(self) -> str:
        """The module of the checks of where it serves; what it answers is checked by the same ones everywhere."""
        if self.cloud_run is not None:
            return "test_cloud_run"
        return "test_processes" if self.api is None else "test_pods"

    @property
    def hosts(self) -> list[str]:
        """Where it serves, as testinfra names it."""
        if self.api is None:
            return ["local://"]
        return [
            f"kubectl://{pod['metadata']['name']}?namespace={self.namespace}"
            f"&container={pod['spec']['containers'][0]['name']}"
            for name in self.ranges
            for pod in self.ready(name)
        ]

    def pods(self, workload: str) -> list[dict[str, Any]]:
        """The pods of one of the endpoint's workloads that are not being deleted."""
        assert self.api is not None
        return of_workload(self.api, self.namespace, workload)

    def ready(self, workload: str) -> list[dict[str, Any]]:
        """Those that answer."""
        return [pod for pod in self.pods(workload) if is_ready(pod)]

    def ask(self, host: Any, path: str, body: Any = None, token: bool = True) -> dict[str, Any]:
        """What the endpoint answers on a host: its status, the digest in its header, its JSON."""
        question = {"url": f"{self.url}{path}", "body": body, "certificate": self.certificate}
        question["token_file"] = self.token_file if token else None
        program = Path(asking.__file__).read_text(encoding="utf-8")
        command = shlex.join([self.python, "-c", program, json.dumps(question)])
        done = host.run(command)
        assert done.rc == 0, f"{path} was not answered: {done.stderr.strip().rpartition(chr(10))[2]}"
        return json.loads(done.stdout)

    def content(self, host: Any, file: str) -> bytes:
        """A file of those that lie where it serves."""
        return self.cloud_run.content(file) if self.cloud_run else host.file(file).content

    def sha256(self, host: Any, file: str) -> str:
        """Of such a file, in hexadecimal; a host computes it itself."""
        if self.cloud_run:
            return hashlib.sha256(self.cloud_run.content(file)).hexdigest()
        return host.file(file).sha256sum

    @classmethod
    def _local(cls, state: State, service: Mapping[str, Any]) -> "Target":
        program: list[str] = service["program"]
        return cls(
            state,
            name=service["model_name"],
            url=service["url"],
            python=program[0],
            port=int(service["port"]),
            ranges={"": Range(int(service["min_replicas"]), int(service["max_replicas"]))},
            models=_answering(service),
            split=bool(service.get("traffic")),
            token_file=argument(program, "--token-file"),
            certificate=argument(program, "--certificate"),
            pid=supervisor(service).pid,
            stages=tuple(str(Path(path).parents[1]) for path in _artifacts(state)),
        )

    @classmethod
    def _cluster(cls, state: State, servers: Mapping[str, Mapping[str, Any]]) -> "Target":
        maps = [each.outputs for each in state.resources if each.type == CONFIG_MAP]
        plans = {each["metadata"]["name"]: each for each in maps}
        told = {name: answering(made, plans.get) for name, made in servers.items()}
        first = next(iter(told))
        models = [model for each in told.values() for model in each.models.values()]
        return cls(
            state,
            name=told[first].name,
            url=f"http://127.0.0.1:{told[first].port}",
            python=POD_PYTHON,
            port=told[first].port,
            ranges={name: _range(state, name, made) for name, made in servers.items()},
            models={each.digest: each.path for each in models if each.weight},
            split=told[first].split or len(told) > 1,
            namespace=servers[first]["metadata"]["namespace"],
            knative={name: made["metadata"]["name"] for name, made in servers.items() if "traffic" in made["spec"]},
            api=Api(*state.cluster),
        )

    @classmethod
    def _on_cloud_run(cls, state: State, made: CloudRun) -> "Target":
        return cls(
            state,
            name=made.model_name,
            url=made.url,
            python=sys.executable,
            port=443,
            ranges={"": Range(made.lowest, made.highest)},
            models={made.digest: made.folder},
            split=False,
            cloud_run=made,
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


def range_of(annotations: Mapping[str, str]) -> Range:
    """The range that Knative is told."""
    return Range(int(annotations[f"{SCALING}/min-scale"]), int(annotations[f"{SCALING}/max-scale"]))


def _range(state: State, name: str, made: Mapping[str, Any]) -> Range:
    said: Mapping[str, str] = made["spec"]["template"].get("metadata", {}).get("annotations") or {}
    if f"{SCALING}/max-scale" in said:
        return range_of(said)
    for each in state.resources:
        spec: Mapping[str, Any] = each.outputs.get("spec") or {}
        scaled: Mapping[str, str] = spec.get("scaleTargetRef") or {}
        if scaled.get("name") != name:
            continue
        if each.type.endswith(":HorizontalPodAutoscaler"):
            return Range(int(spec["minReplicas"]), int(spec["maxReplicas"]), scaled=True)
        if each.type.endswith(":ScaledObject"):
            return Range(int(spec["minReplicaCount"]), int(spec["maxReplicaCount"]), scaled=True)
    replicas = int(made["spec"]["replicas"])
    return Range(replicas, replicas)
