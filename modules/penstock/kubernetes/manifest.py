"""A manifest as a resource of the official SDK."""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pulumi

MODULES = {"v1": "core.v1", "networking.k8s.io/v1": "networking.v1", "rbac.authorization.k8s.io/v1": "rbac.v1"}
"""Of the SDK, where they are not named as the API is."""
METADATA = ("name", "namespace", "labels", "annotations")
BUILT_IN = ("apps/v1", "autoscaling/v2", "batch/v1", "policy/v1", *MODULES)


@dataclass(frozen=True)
class Place:
    """The namespace of a stack, and the provider by which things are made in it."""

    namespace: pulumi.Output[str]
    provider: pulumi.ProviderResource

    def make(
        self,
        name: str,
        content: Mapping[str, Any],
        opts: pulumi.ResourceOptions,
        more: pulumi.ResourceOptions | None = None,
    ) -> Any:
        """The resource of a manifest, in the namespace."""
        return resource(name, self.placed(content), self.options(opts, more))

    def placed(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest with its namespace."""
        return {**content, "metadata": {**content["metadata"], "namespace": self.namespace}}

    def options(self, opts: pulumi.ResourceOptions, more: pulumi.ResourceOptions | None = None) -> Any:
        """The options with the provider, and what `more` there is."""
        own = pulumi.ResourceOptions(provider=self.provider)
        return pulumi.ResourceOptions.merge(pulumi.ResourceOptions.merge(opts, own), more or pulumi.ResourceOptions())


def metadata_of(made: Any, field: str) -> pulumi.Output[str]:
    """A field of the metadata that the cluster gave an object."""
    found: pulumi.Output[dict[str, str]] = made.metadata
    # A preview need not know what the cluster itself gives it.
    return found.apply(lambda known: known.get(field, ""))


def resource(name: str, manifest: Mapping[str, Any], opts: pulumi.ResourceOptions) -> Any:
    """The resource `name` of a manifest whose kind is known already."""
    # The SDK is large, and what runs on this machine alone never needs it.
    from pulumi_kubernetes import apiextensions

    api_version, kind = str(manifest["apiVersion"]), str(manifest["kind"])
    rest = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind")}
    if api_version not in BUILT_IN:
        if set(rest) - {"metadata", "spec"}:
            # The SDK's class knows no other field; the plugin does.
            own = pulumi.ResourceOptions(version=metadata.version("pulumi-kubernetes"))
            both = pulumi.ResourceOptions.merge(opts, own)
            return pulumi.CustomResource(f"kubernetes:{api_version}:{kind}", name, dict(manifest), both)
        return apiextensions.CustomResource(
            name, api_version=api_version, kind=kind, metadata=rest["metadata"], spec=rest["spec"], opts=opts
        )
    module = importlib.import_module(f"pulumi_kubernetes.{MODULES.get(api_version, api_version.replace('/', '.'))}")
    fields = {re.sub("([A-Z])", r"_\1", key).lower(): value for key, value in rest.items()}
    return getattr(module, kind)(name, **fields, opts=opts)


def later(
    name: str,
    api_version: str,
    kind: str,
    manifest: pulumi.Output[dict[str, Any]],
    opts: pulumi.ResourceOptions,
) -> Any:
    """The same for a manifest of which only the kind is known before other resources are made."""
    from pulumi_kubernetes import apiextensions

    return apiextensions.CustomResource(
        name,
        api_version=api_version,
        kind=kind,
        # A preview need not know its name; that it has one, and where it goes, it must.
        metadata={key: manifest.apply(lambda known, key=key: known["metadata"].get(key)) for key in METADATA},
        spec=manifest.apply(lambda known: known["spec"]),
        opts=opts,
    )
