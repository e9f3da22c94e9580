"""A stack as its state describes it: stages, the endpoint, the cluster they are on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.errors import PenstockError
from penstock.local.identity import ProcessIdentity

LOCAL_JOB, LOCAL_SERVICE = "LocalJob", "LocalService"
SERVERS = (LOCAL_SERVICE, "LocalPage")
"""What goes on after `up` on a machine: the endpoint, and pages beside jobs."""
JOB_RESULT = "JobResult"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
KNATIVE = "kubernetes:serving.knative.dev/v1:Service"
WORKLOAD = "penstock.dev/workload"
"""The label by which the pods of a workload are found."""
CLOUD_RUN = "gcp:cloudrunv2/service:Service"
MAKING = ("creating", "updating")
PROMOTED = "PromotedModel"


@dataclass(frozen=True)
class Resource:
    """One resource of the state."""

    name: str
    type: str
    outputs: Mapping[str, Any] = field(repr=False)
    """What it was made with, while it is made for the first time."""
    begun: str = ""
    """`creating` or `updating` where a run has begun that, and has not written its end: it is at it, or was killed."""

    @property
    def kind(self) -> str:
        """The type's last word: `LocalJob`."""
        return self.type.rpartition(":")[2]


class State:
    """What `pulumi stack export` gives."""

    def __init__(self, stack: str, deployment: Mapping[str, Any]) -> None:
        self.stack = stack
        listed: list[dict[str, Any]] = deployment.get("resources") or []
        pending: list[dict[str, Any]] = deployment.get("pending_operations") or []
        begun = {each["resource"]["urn"]: each for each in pending if each["type"] in MAKING}
        self.resources = [_resource(found, "outputs", begun.pop(found["urn"], {}).get("type", "")) for found in listed]
        self.resources += [_resource(each["resource"], "inputs", each["type"]) for each in begun.values()]
        root = [each for each in self.resources if each.type == "pulumi:pulumi:Stack"]
        self.outputs: Mapping[str, Any] = root[0].outputs if root else {}

    @property
    def jobs(self) -> list[Resource]:
        """The stages, in the order in which they were first made."""
        return [each for each in self.resources if each.kind in (LOCAL_JOB, JOB_RESULT)]

    @property
    def service(self) -> Mapping[str, Any] | None:
        """The endpoint on this machine, as its provider left it."""
        return next(
            (each.outputs for each in self.resources if each.kind == LOCAL_SERVICE and "pid" in each.outputs), None
        )

    @property
    def here(self) -> bool:
        """Whether anything of it is on this machine."""
        return any(each.kind in (LOCAL_JOB, *SERVERS) for each in self.resources)

    @property
    def cloud_run(self) -> Resource | None:
        """The endpoint on Cloud Run."""
        return next((each for each in self.resources if each.type == CLOUD_RUN), None)

    @property
    def servers(self) -> dict[str, Mapping[str, Any]]:
        """The endpoint on a cluster, by its workload: its Deployment or Knative Service; behind a Gateway one of each
        version."""
        made = [each.outputs for each in self.resources if each.type in (DEPLOYMENT, KNATIVE)]
        # One that is made for the first time may have no name yet.
        named = {_workload(each["metadata"]): each for each in made}
        # What holds requests at zero is a Deployment too, made after the one that it holds them for.
        return {name: named[name] for name in self.shares or list(named)[:1] if named.get(name)}

    @property
    def shares(self) -> Mapping[str, int]:
        """Weights of the Deployments behind a Gateway, by name; empty where no route leads to them."""
        route = next((each.outputs for each in self.resources if each.type.endswith(":HTTPRoute")), None)
        rules: list[dict[str, Any]] = route["spec"]["rules"] if route else []
        return {each["name"]: int(each.get("weight", 1)) for rule in rules for each in rule["backendRefs"]}

    @property
    def cluster(self) -> tuple[str, str | None]:
        """Kubeconfig (a path, or its text) and context of the stack's cluster."""
        for each in self.resources:
            if each.kind == JOB_RESULT:
                return str(each.outputs["kubeconfig"]), each.outputs["context"] or None
        for each in self.resources:
            if each.type == "pulumi:providers:kubernetes":
                return str(each.outputs["kubeconfig"]), each.outputs.get("context") or None
        raise PenstockError(f"stack {self.stack} is on no Kubernetes cluster")

    @property
    def promotes(self) -> bool:
        """Whether it serves a model that another stack has made."""
        return any(each.kind == PROMOTED for each in self.resources)


def _workload(metadata: Mapping[str, Any]) -> str:
    labels: Mapping[str, str] = metadata.get("labels") or {}
    return labels.get(WORKLOAD) or metadata.get("name", "")


def _resource(found: Mapping[str, Any], side: str, begun: str) -> Resource:
    return Resource(found["urn"].rpartition("::")[2], found["type"], found.get(side) or {}, begun)


def supervisor(service: Mapping[str, Any]) -> ProcessIdentity:
    """The process that keeps an endpoint of this machine; it may be gone."""
    return ProcessIdentity(int(service["pid"]), float(service["started"]))


def argument(command: list[str], name: str) -> str | None:
    """The value that follows an argument in a command line, or after `=`."""
    for word, following in zip(command, [*command[1:], None], strict=True):
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def log_folder(job: Resource) -> Path:
    """Where a stage of this machine writes its logs."""
    return Path(job.outputs["logs"])
