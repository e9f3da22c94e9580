"""Stacks that the Pulumi Kubernetes Operator keeps as a Git repository, or a program of the cluster, says."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock.kubernetes import manifest, operator

__all__ = ["OperatedStack", "OperatedStackArgs", "OperatedWorkspace", "OperatedWorkspaceArgs"]

NAMESPACE = "pulumi-kubernetes-operator"


class OperatedStackArgs(TypedDict):
    """Which stack, from where, by what; the operator (2.8 or later) and the namespace are there already."""

    stack: str
    """Name of the stack, as its backend knows it."""
    repository: NotRequired[str]
    """URL of the Git repository with Pulumi.yaml at its root; this or `program`."""
    program: NotRequired[Mapping[str, Any]]
    """A Pulumi YAML program (`configuration`, `packages`, `variables`, `resources`, `outputs`) that is kept in the
    cluster itself, as an object Program of the stack's name."""
    backend: str
    """URL of the stack's state, such as `gs://acme-pulumi-state`."""
    image: str
    """Image of the workspace, by digest: `pulumi`, Python and what the program imports."""
    namespace: NotRequired[str]
    """Where the operator looks for stacks. Default: pulumi-kubernetes-operator."""
    branch: NotRequired[str]
    """The branch that is deployed. Default: main."""
    commit: NotRequired[str]
    """This commit and no other, in place of the branch."""
    secrets: NotRequired[Mapping[str, tuple[str, str]]]
    """Environment variables by name and key of their Secret, such as PULUMI_CONFIG_PASSPHRASE. Default: none."""
    environment: NotRequired[Mapping[str, str]]
    """Further environment variables. Default: none."""
    service_account_email: NotRequired[pulumi.Input[str]]
    """The Google account that it deploys as, by Workload Identity. Default: none."""
    deploys_to: NotRequired[str]
    """The namespace of this cluster that the stack makes, for the platform `cluster`. Default: none."""
    resync_seconds: NotRequired[int]
    """How often the branch is looked at. Default: 300."""
    retrain: NotRequired[bool]
    """Whether it is deployed at every interval though no commit came, so that new raw data train a new model.
    Default: false."""
    after: NotRequired[Sequence[str]]
    """Names of other operated stacks that must have succeeded before. Default: none."""


class OperatedWorkspaceArgs(TypedDict):
    """Where to look at a stack from; the operator (2.8 or later) and the account are there already."""

    stack: str
    """Name of the stack, as its backend knows it."""
    repository: str
    """URL of the Git repository with Pulumi.yaml at its root."""
    backend: str
    """URL of the stack's state, such as `gs://acme-pulumi-state`."""
    image: str
    """Image of the workspace, by digest: `pulumi`, Python and what the program imports."""
    service_account: NotRequired[str]
    """The Kubernetes account that it runs as: an OperatedStack makes one of its own name. Default: the own name."""
    namespace: NotRequired[str]
    """Where the operator looks for workspaces. Default: pulumi-kubernetes-operator."""
    branch: NotRequired[str]
    """The branch that is checked out. Default: main."""
    commit: NotRequired[str]
    """This commit, in place of the branch."""
    secrets: NotRequired[Mapping[str, tuple[str, str]]]
    """Environment variables by name and key of their Secret, such as PULUMI_CONFIG_PASSPHRASE. Default: none."""
    environment: NotRequired[Mapping[str, str]]
    """Further environment variables. Default: none."""


class OperatedStack(pulumi.ComponentResource):
    """The Stack object, the account of its workspace, and the rights it takes, one by one."""

    name: pulumi.Output[str]
    """Name of the Stack object."""

    def __init__(self, name: str, args: OperatedStackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:index:OperatedStack", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        email = args.get("service_account_email")
        parts = operator.objects(
            _operated(
                name,
                args,
                program=name if "program" in args else "",
                account_annotations={"iam.gke.io/gcp-service-account": email} if email else {},
                deploys_to=args.get("deploys_to", ""),
                resync_seconds=args.get("resync_seconds", 300),
                again=args.get("retrain", False),
                after=args.get("after", ()),
            )
        )
        stack = parts.pop("stack")
        first = (
            [manifest.resource(f"{name}-namespace", parts.pop("namespace"), child)] if args.get("deploys_to") else []
        )
        within = pulumi.ResourceOptions(parent=self, depends_on=first)
        rights = [manifest.resource(f"{name}-{part}", content, within) for part, content in parts.items()]
        if "program" in args:
            space = args.get("namespace", NAMESPACE)
            content = operator.program(name, space, args["program"])
            rights.append(manifest.resource(f"{name}-program", content, within))
        # A workspace that runs before it has its rights fails, and is tried again only later.
        after = pulumi.ResourceOptions(parent=self, depends_on=rights)
        made = manifest.resource(f"{name}-stack", stack, after)
        self.name = _name_of(made)
        self.register_outputs({"name": self.name})


class OperatedWorkspace(pulumi.ComponentResource):
    """A Workspace by itself: a pod with the program checked out and the stack selected, to look at it by hand."""

    name: pulumi.Output[str]
    """Name of the Workspace object."""

    def __init__(self, name: str, args: OperatedWorkspaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:index:OperatedWorkspace", name, None, opts)
        content = operator.workspace(_operated(name, args, account=args.get("service_account", name)))
        made = manifest.resource(f"{name}-workspace", content, pulumi.ResourceOptions(parent=self))
        self.name = _name_of(made)
        self.register_outputs({"name": self.name})


def _operated(name: str, args: OperatedStackArgs | OperatedWorkspaceArgs, **further: Any) -> operator.Operated:
    """What a stack and a workspace have in common, and `further` fields."""
    return operator.Operated(
        name=name,
        namespace=args.get("namespace", NAMESPACE),
        stack=args["stack"],
        backend=args["backend"],
        repository=args.get("repository", ""),
        branch=args.get("branch", "main"),
        commit=args.get("commit", ""),
        image=args["image"],
        environment=args.get("environment", {}),
        secrets=args.get("secrets", {}),
        **further,
    )


def _name_of(made: Any) -> pulumi.Output[str]:
    metadata: pulumi.Output[dict[str, str]] = made.metadata
    return metadata.apply(lambda known: known["name"])
