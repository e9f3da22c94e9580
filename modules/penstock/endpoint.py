"""A sealed model to a REST endpoint."""

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock.platform import ArtifactArgs, Platform, Program, Service


class EndpointArgs(TypedDict):
    """What is served, and where."""

    platform: Platform
    """Where it runs."""
    model: ArtifactArgs
    """The sealed model; the server refuses any other."""
    model_name: str
    """The model's name in URLs."""
    port: NotRequired[int]
    """Port of the endpoint. Default: 8501."""


class Endpoint(pulumi.ComponentResource):
    """A server that outlives the command and takes raw rows."""

    url: pulumi.Output[str]
    """Base URL; also the console page."""
    model_url: pulumi.Output[str]
    """URL of the model: append `:predict`, `/metadata`, `/attestation`."""

    def __init__(self, name: str, args: EndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:index:Endpoint", name, None, opts)
        model = args["model"]
        service = Service(
            Program.SERVER,
            ["--model", model["path"], "--name", args["model_name"], "--expect-digest", model["digest"]],
            port=args.get("port", 8501),
        )
        self.url = args["platform"].service(f"{name}-server", service, pulumi.ResourceOptions(parent=self))
        self.model_url = pulumi.Output.concat(self.url, "/v1/models/", args["model_name"])
        self.register_outputs({"url": self.url, "model_url": self.model_url})
