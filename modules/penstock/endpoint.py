"""A sealed model to a REST endpoint."""

from collections.abc import Mapping
from typing import Any

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock.arguments import PlatformArgs, made, native
from penstock.monitoring import Monitoring, MonitoringArgs
from penstock.platform import ArtifactArgs, Platform, Program, Service, answering


class EndpointArgs(TypedDict):
    """What is served, and where."""

    platform: Platform | pulumi.Input[PlatformArgs]
    """Where it runs."""
    model: ArtifactArgs
    """The sealed model; the server refuses any other."""
    model_name: str
    """The model's name in URLs."""
    port: NotRequired[int]
    """Port of the endpoint. Default: 8501."""
    traffic: NotRequired[Mapping[str, float] | None]
    """Weights by version: `latest`, `previous`, a number or the beginning of a digest; 0 answers in the shadow.
    Default: all to `latest`, by the rollout if there is one."""
    rollout: NotRequired[Mapping[str, Any] | None]
    """Steps and gates by which a new version takes over. Default: none, it takes over at once."""
    min_replicas: NotRequired[int]
    """Server processes at least; with 0 the first request after a pause waits for one to start. Default: 1."""
    max_replicas: NotRequired[int]
    """Server processes at most. Default: 1."""
    idle_seconds: NotRequired[float]
    """A replica goes when none of the last so many seconds had need of it; on one machine the last of `min_replicas` 0
    alone, on a cluster an hour at most. Cloud Run decides by itself. Default: 300."""
    token_file: NotRequired[str | None]
    """Path of a file of bearer tokens, one a line: who has one may ask. Default: anyone who reaches the port."""
    certificate: NotRequired[str | None]
    """Path of the PEM certificate chain for TLS. Default: plain text."""
    private_key: NotRequired[str | None]
    """Path of the certificate's PEM key."""
    verify_key: NotRequired[str | None]
    """Path of the Ed25519 public key (PEM) whose owner must have signed a model. Default: a seal that holds will do."""
    grpc_port: NotRequired[int | None]
    """Port of TensorFlow Serving's gRPC `Predict`, on this machine. Default: it is not answered."""
    monitoring: NotRequired[MonitoringArgs]
    """How what arrives is watched. Default: the server's own way, and nobody is told."""


class Endpoint(pulumi.ComponentResource):
    """A server that outlives the command and takes raw rows."""

    url: pulumi.Output[str]
    """Base URL; also the console page."""
    model_url: pulumi.Output[str]
    """URL of the model: append `:predict`, `/metadata`, `/attestation`."""

    def __init__(self, name: str, args: EndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:index:Endpoint", name, None, opts)
        args = native(args)
        platform = made(args["platform"], args["model_name"])
        model, child = args["model"], pulumi.ResourceOptions(parent=self)
        monitoring = Monitoring(f"{name}-monitoring", args.get("monitoring", {}), child)
        service = Service(
            Program.SERVER,
            [*answering(model, args["model_name"]), *monitoring.arguments],
            port=args.get("port", 8501),
            monitoring=monitoring.arguments,
            environment=monitoring.environment,
            min_replicas=args.get("min_replicas", 1),
            max_replicas=args.get("max_replicas", 1),
            idle_seconds=args.get("idle_seconds", 300),
            model=model,
            model_name=args["model_name"],
            traffic=args.get("traffic"),
            rollout=args.get("rollout"),
            token_file=args.get("token_file"),
            certificate=args.get("certificate"),
            private_key=args.get("private_key"),
            verify_key=args.get("verify_key"),
            grpc_port=args.get("grpc_port"),
        )
        self.url = platform.service(f"{name}-server", service, child)
        self.model_url = pulumi.Output.concat(self.url, "/v1/models/", args["model_name"])
        self.register_outputs({"url": self.url, "model_url": self.model_url})
