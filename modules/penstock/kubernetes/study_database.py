"""The PostgreSQL that a stack makes for one study, with a password that is generated once and kept as a secret."""

import secrets
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider

from penstock.kubernetes import database, manifest, readiness
from penstock.kubernetes.cluster_args import ClusterArgs

BYTES = 24
"""Of chance, in a password."""


class PasswordProvider(ResourceProvider):
    """Generates one; pickled by reference, so it keeps no attributes of its own."""

    serialize_as_secret_always = False

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """The database was made with it, so it stays."""
        return DiffResult(changes=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Another one at each call."""
        return CreateResult(props["name"], {**props, "value": secrets.token_urlsafe(BYTES)})


class Password(Resource, module="penstock", name="Password"):
    """A generated password, a secret of the stack's state."""

    value: pulumi.Output[str]
    """The password."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        merged = pulumi.ResourceOptions.merge(opts, secret)
        super().__init__(PasswordProvider(), name, {"name": name, "value": None}, merged)


def password(
    name: str, stack: str, value: pulumi.Input[str], place: manifest.Place, opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    """The Secret that the pods of the study `name` are told the password by."""
    content = {**database.secret(name, stack), "stringData": {database.PASSWORD: pulumi.Output.secret(value)}}
    return place.make(f"{name}-password", content, opts)


def make(
    name: str, args: database.DatabaseArgs, cluster: ClusterArgs, place: manifest.Place, opts: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    """The database of the study `name`; the last of its resources is there when it answers."""
    generated = Password(f"{name}-database-password", opts)
    made = [password(name, args.stack, generated.value, place, opts)]
    parts = database.objects(name, args)
    server = parts.pop("server")
    made += [place.make(f"{name}-database-{part}", content, opts) for part, content in parts.items()]
    server["metadata"]["annotations"] = dict(readiness.SEEN)
    own, before = f"{name}-database-server", pulumi.ResourceOptions(depends_on=list(made))
    placed = place.make(own, server, opts, before)
    seconds = readiness.patience(cluster)
    return [*made, placed, readiness.ready(own, "StatefulSet", placed, server["spec"], cluster, seconds, opts)]
