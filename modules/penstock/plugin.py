"""The program `pulumi-resource-penstock`: the components for programs in any language.

A Pulumi CLI that knows source-based packages hosts `modules/` by itself (`pulumi package add`); an older one finds this
program on PATH, where installing the distribution puts it.
"""

from importlib.metadata import version

from pulumi.provider.experimental.host import component_provider_host, components_from_module

import penstock


def main() -> None:
    """Hosts what the package `penstock` exports, until the engine ends it."""
    component_provider_host(components_from_module(penstock), "penstock", version=version("penstock"))
