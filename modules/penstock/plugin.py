"""The program `pulumi-resource-penstock`: the components for programs in any language.

A Pulumi CLI that knows source-based packages hosts `modules/` by itself (`pulumi package add`); an older one finds this
program on PATH, where installing the distribution puts it.
"""

import sys
from importlib.metadata import version

import pulumi
from pulumi.errors import InputPropertyError
from pulumi.provider import ConstructResult
from pulumi.provider import main as serve
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.provider.experimental.host import components_from_module
from pulumi.provider.server import ComponentInitError

import penstock
from penstock.errors import PenstockError


class Components(ComponentProvider):
    """What the package `penstock` exports; our own messages reach a person without a traceback."""

    def construct(
        self, name: str, resource_type: str, inputs: pulumi.Inputs, options: pulumi.ResourceOptions | None = None
    ) -> ConstructResult:
        try:
            return super().construct(name, resource_type, inputs, options)
        except ComponentInitError as exc:
            if isinstance(exc.inner, PenstockError):
                # The engine shows what is told of a property, with its value: this one is none of theirs.
                raise InputPropertyError("arguments", str(exc.inner)) from exc
            raise


def main() -> None:
    """Hosts them until the engine ends it."""
    serve(Components(components_from_module(penstock), "penstock", None, version("penstock")), sys.argv[1:])
