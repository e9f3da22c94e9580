"""A stack that serves a model which another stack has made: its settings name the digest, and nothing is trained."""

import pulumi
from settings import Settings

from penstock import Endpoint, EndpointArgs, Platform
from penstock.gcp.platform import GcpPlatform
from penstock.naming import model_name


def serve(s: Settings, platform: Platform) -> None:
    """The endpoint for the model, and the stack's outputs."""
    assert isinstance(platform, GcpPlatform), "the settings allow a model from elsewhere on Google Cloud only"
    opts = pulumi.ResourceOptions()
    platform.storage("flow-store", s.keep, opts)
    model = platform.promoted("flow-model", opts)
    name = model_name(s.problem)
    served = Endpoint("flow-serve", EndpointArgs(platform=platform, model=model, model_name=name, **s.endpoint()))
    pulumi.export("endpoint", served.model_url)
    pulumi.export("console", pulumi.Output.concat(served.url, "/"))
    pulumi.export("model_digest", model["digest"])
    pulumi.export("model_card", platform.page(pulumi.Output.concat(model["path"], "/card.html")))
