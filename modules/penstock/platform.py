"""The one small interface that every target implements: storage, jobs and services."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import pulumi
from typing_extensions import TypedDict

from penstock.errors import PenstockError


class Program(str, Enum):
    """The two programs that a platform can run; each has an environment (or image) of its own."""

    TRAINER = "trainer"
    SERVER = "serving"


@dataclass(frozen=True)
class Resources:
    """What one replica asks for. A platform without a scheduler ignores it."""

    cpus: float = 1.0
    memory_gib: float = 2.0


@dataclass(frozen=True)
class Role:
    """One role of a job: `replicas` processes with the same command line."""

    command: Sequence[pulumi.Input[str]]
    """Arguments after the program's own name."""
    replicas: int = 1
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    resources: Resources = field(default_factory=Resources)
    restarts: int = 0
    """How often a replica that failed is started again alone, in its place (a Job's backoffLimit). Beyond that, its
    failure is the job's."""


@dataclass(frozen=True)
class Job:
    """A set of roles; the job is done when the success role's first replica exits 0.

    Exit code 2 says that the input is at fault: nothing is started again then. Before a replica is taken away it gets
    SIGTERM and `PENSTOCK_GRACE_SECONDS`.
    """

    program: Program
    roles: Mapping[str, Role]
    success_role: str = "chief"
    restarts: int = 0
    """How often all roles are started again, together and with the same addresses, after the failure of a replica that
    is not started again alone (a JobSet's failurePolicy.maxRestarts); each replica's own count begins anew."""
    files: Sequence[str] = ()
    """Files and patterns outside the artifact store that the result depends on."""
    keys: Sequence[str] = ()
    """Those of `files` that are keys: nobody but the job is to read them."""
    modules: Sequence[str] = ()
    """Modules of the program's environment, besides its own, that the result depends on."""
    digests: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    """Digests of the artifacts that the result is made from, by kind."""


@dataclass(frozen=True)
class Artifact:
    """What a job leaves behind."""

    path: pulumi.Output[str]
    digest: pulumi.Output[str]
    counts: pulumi.Output[dict[str, Any]]
    metrics: pulumi.Output[dict[str, Any]]


class ArtifactArgs(TypedDict):
    """An artifact that a stage starts from."""

    path: pulumi.Input[str]
    """Its folder."""
    digest: pulumi.Input[str]
    """Its digest."""


def answering(model: ArtifactArgs, model_name: str) -> list[pulumi.Input[str]]:
    """The arguments by which a server answers with one sealed model, and no other."""
    return ["--model", model["path"], "--name", model_name, "--expect-digest", model["digest"]]


@dataclass(frozen=True)
class Service:
    """A server behind one port, with a range of replicas."""

    program: Program
    command: Sequence[pulumi.Input[str]]
    """Arguments after the program's own name; the platform adds the address to bind."""
    port: int
    probe: str = "/readyz"
    """Path that answers 200 when a replica may be given requests."""
    min_replicas: int = 1
    max_replicas: int = 1
    monitoring: Sequence[str] = ()
    """The arguments of the command that say how what arrives is watched, apart: for a platform that starts the replicas
    by other arguments than the command's."""
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    """Of the replicas, besides what the platform gives them."""
    idle_seconds: float = 300
    """A replica goes when none of the last so many had need of it (on one machine: the last one, of a range from 0)."""
    model: ArtifactArgs | None = None
    """The sealed model that the command names, for a platform that keeps several versions behind one URL."""
    model_name: str = ""
    """Its name in URLs."""
    traffic: Mapping[str, float] | None = None
    """Weights by version: `latest`, `previous`, a number or the beginning of a digest; 0 answers in the shadow."""
    rollout: Mapping[str, Any] | None = None
    """Steps and gates by which a new version takes over where `traffic` is not given; None: at once."""
    token_file: str | None = None
    """Path of the bearer tokens that may ask; None: anyone may."""
    certificate: str | None = None
    """Path of the PEM certificate chain for TLS, with `private_key`; None: plain text."""
    private_key: str | None = None
    """Path of its PEM key."""
    verify_key: str | None = None
    """Path of the Ed25519 public key (PEM) without whose owner's signature no model is served; None: a seal will do."""
    grpc_port: int | None = None
    """Where TensorFlow Serving's gRPC `Predict` is answered too; None: nowhere."""

    def refuse_local(self, *able: str) -> None:
        """For a platform where these would be silently left out, but for what it is `able` to do: PenstockError if any
        is asked for."""
        for name in ("traffic", "rollout", "token_file", "certificate", "verify_key", "grpc_port"):
            if name not in able and getattr(self, name) is not None:
                raise PenstockError(f"{name} is for the platform 'local' so far; leave it out on this one")


class Platform(Protocol):
    """Where a pipeline runs."""

    def storage(self, name: str, keep: Sequence[str], opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """The root of the artifact store; of it, only the kinds in `keep` survive the stack."""
        ...

    def job(self, name: str, job: Job, opts: pulumi.ResourceOptions) -> Artifact:
        """Runs a job to its end, unless its artifact is there already."""
        ...

    def service(self, name: str, service: Service, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """Keeps a service running; the base URL at which it answers."""
        ...

    def page(self, path: pulumi.Output[str]) -> pulumi.Output[str]:
        """Where a browser opens a page of an artifact; its path where none does: `penstock page` brings it."""
        ...

    def estimated_cost(self) -> Mapping[str, Any]:
        """What the pipeline costs here: `usd_per_hour` and a word about it."""
        ...
