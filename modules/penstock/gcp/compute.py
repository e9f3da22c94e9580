"""The few resources of Compute Engine that Penstock makes.

`pulumi_gcp.compute` declares several hundred and takes seconds to import; these declare the fields in use by the same
names and types. A test compares them with the SDK's.
"""

from importlib.metadata import version
from typing import Any

import pulumi


class _Resource(pulumi.CustomResource):
    _type: str
    _outputs: tuple[str, ...] = ()

    def __init__(self, resource: str, opts: pulumi.ResourceOptions | None, /, **props: Any) -> None:
        # With the SDK's version it is the SDK's provider that is asked, not a second one.
        same = pulumi.ResourceOptions.merge(pulumi.ResourceOptions(version=version("pulumi-gcp")), opts)
        super().__init__(self._type, resource, {**dict.fromkeys(self._outputs), **props}, same)

    def translate_input_property(self, prop: str) -> str:
        """`self_link` is `selfLink` to the provider."""
        head, *rest = prop.split("_")
        return head + "".join(part.capitalize() for part in rest)

    def translate_output_property(self, prop: str) -> str:
        """`selfLink` is `self_link` to the program."""
        return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in prop)


class Network(_Resource):
    """A VPC network."""

    _type = "gcp:compute/network:Network"
    _outputs = ("self_link",)
    self_link: pulumi.Output[str]


class Subnetwork(_Resource):
    """One region's part of a network."""

    _type = "gcp:compute/subnetwork:Subnetwork"
    _outputs = ("self_link",)
    self_link: pulumi.Output[str]
    name: pulumi.Output[str]


class Router(_Resource):
    """What a NAT hangs on."""

    _type = "gcp:compute/router:Router"
    name: pulumi.Output[str]


class RouterNat(_Resource):
    """The way out for machines without public addresses."""

    _type = "gcp:compute/routerNat:RouterNat"


class Firewall(_Resource):
    """What may pass."""

    _type = "gcp:compute/firewall:Firewall"


class Address(_Resource):
    """One address of a region."""

    _type = "gcp:compute/address:Address"
    _outputs = ("address",)
    name: pulumi.Output[str]
    address: pulumi.Output[str]


class ResourcePolicy(_Resource):
    """How machines are placed."""

    _type = "gcp:compute/resourcePolicy:ResourcePolicy"
    name: pulumi.Output[str]


class GlobalAddress(_Resource):
    """A range of private addresses kept for Google's services."""

    _type = "gcp:compute/globalAddress:GlobalAddress"
    name: pulumi.Output[str]
