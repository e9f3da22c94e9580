"""What the Pulumi Kubernetes Operator is told: pure functions from a stack to manifests.

Written for version 2.8 of the operator: `pulumi.com/v1` Stack and Program, `auto.pulumi.com/v1alpha1` Workspace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.errors import PenstockError
from penstock.kubernetes import gateways
from penstock.kubernetes import workspace as workspaces
from penstock.kubernetes.pods import labels
from penstock.kubernetes.preflight import ALSO, HELD, JUDGES, READ, STORES, VERBS, WATCHED, WHOLE, WRITTEN

STACK = ("pulumi.com/v1", "Stack")
PROGRAM = ("pulumi.com/v1", "Program")
WORKSPACE = ("auto.pulumi.com/v1alpha1", "Workspace")
SECTIONS = ("configuration", "packages", "variables", "resources", "outputs")
"""Of a program."""
RBAC = "rbac.authorization.k8s.io"
DELEGATOR = "system:auth-delegator"
"""What the operator asks of a workspace's account: to tell whether a caller's token is good, and nothing else."""
RESOURCES = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
LEAST_SECONDS = 60
"""The operator's shortest interval."""


@dataclass(frozen=True)
class Operated:
    """A stack that the operator keeps as its repository says."""

    name: str
    """Of the objects in the cluster; 42 letters at most."""
    namespace: str
    """Where the operator looks, and where the workspace's pod runs."""
    stack: str
    """As the backend knows it: `dev`, or `organization/penstock/dev`."""
    backend: str = ""
    """URL of the state, such as `gs://acme-pulumi-state`."""
    repository: str = ""
    """URL of the Git repository; or `program` in its place."""
    branch: str = "main"
    commit: str = ""
    """In place of the branch: this commit and no other."""
    program: str = ""
    """Name of a Program in the same namespace."""
    image: str = ""
    """Of the workspace: `pulumi`, Python and what the program imports; by digest."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """Environment variables by the name and key of their Secret."""
    account_annotations: Mapping[str, Any] = field(default_factory=dict[str, Any])
    deploys_to: str = ""
    """The namespace that the program makes in this same cluster; empty: it makes nothing here."""
    resync_seconds: int = 300
    again: bool = False
    """Whether it is deployed at every interval though no commit came: new raw data train a new model."""
    account: str = ""
    """Of a workspace by itself: the account it runs as. Empty: one of its own name."""
    after: Sequence[str] = ()
    """Names of stacks that must have succeeded before."""

    @property
    def short(self) -> str:
        """The stack's name without organization and project."""
        return self.stack.rpartition("/")[2]

    def __post_init__(self) -> None:
        if bool(self.repository) == bool(self.program):
            raise PenstockError(f"stack {self.name}: a repository or a program is its source, one of them")
        if "@sha256:" not in self.image:
            raise PenstockError(f"stack {self.name}: image is {self.image!r}; name it by digest, NAME@sha256:...")
        if self.resync_seconds < LEAST_SECONDS:
            raise PenstockError(f"stack {self.name}: resync_seconds is {self.resync_seconds}, at least {LEAST_SECONDS}")
        if len(self.name) > 42:
            raise PenstockError(f"stack {self.name!r} has {len(self.name)} letters; the operator takes 42")


def objects(args: Operated) -> dict[str, dict[str, Any]]:
    """What the stack needs in the cluster by what it is for; `stack` comes last."""
    made = {"account": _account(args), "delegator": _bound(args, f"{args.namespace}-{args.name}", DELEGATOR, True)}
    if args.deploys_to:
        made |= _rights(args)
    return {**made, "stack": _stack(args)}


def workspace(args: Operated) -> dict[str, Any]:
    """A workspace by itself, in which a person may look at the stack."""
    if not args.repository:
        raise PenstockError(
            f"workspace {args.name}: a program of the cluster has none of its own; name a repository as its source"
        )
    git = {"url": args.repository, "ref": args.commit or args.branch}
    stacks = [{"name": args.stack, "create": False}]
    values = {**({"PULUMI_BACKEND_URL": args.backend} if args.backend else {}), **args.environment}
    secrets = {
        name: {"secretKeyRef": {"name": secret, "key": key}} for name, (secret, key) in sorted(args.secrets.items())
    }
    env = [{"name": name, "value": value} for name, value in sorted(values.items())]
    env += [{"name": name, "valueFrom": source} for name, source in secrets.items()]
    own = {"serviceAccountName": args.account or args.name, "git": git, "stacks": stacks, "env": env}
    spec = {**_workspace_spec(args), **own}
    return _object(WORKSPACE, _metadata(args, "workspace"), spec)


def program(name: str, namespace: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """A Pulumi YAML program as an object of the cluster; what is none is a PenstockError."""
    if unknown := sorted(set(content) - set(SECTIONS)):
        raise PenstockError(f"program {name} has {', '.join(unknown)}; a program has {', '.join(SECTIONS)}")
    api_version, kind = PROGRAM
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "program": dict(content)}


def _stack(args: Operated) -> dict[str, Any]:
    source: dict[str, Any] = {"programRef": {"name": args.program}}
    if args.repository:
        revision = {"commit": args.commit} if args.commit else {"branch": args.branch}
        source = {"projectRepo": args.repository, "shallow": not args.commit, **revision}
    secrets = {
        name: {"type": "Secret", "secret": {"name": secret, "key": key}} for name, (secret, key) in args.secrets.items()
    }
    values = {name: {"type": "Literal", "literal": {"value": value}} for name, value in args.environment.items()}
    spec = {
        "stack": args.stack,
        "serviceAccountName": args.name,
        **({"backend": args.backend} if args.backend else {}),
        **source,
        "envRefs": {**values, **secrets},
        "resyncFrequencySeconds": args.resync_seconds,
        "continueResyncOnCommitMatch": args.again,
        "refresh": True,
        # A Stack that is deleted by mistake must not take what it made with it.
        "destroyOnFinalize": False,
        "useLocalStackOnly": True,
        "workspaceReclaimPolicy": "Delete",
        "prerequisites": [{"name": name} for name in args.after],
        "workspaceTemplate": {"spec": _workspace_spec(args)},
    }
    return _object(STACK, _metadata(args, "stack"), spec)


def _workspace_spec(args: Operated) -> dict[str, Any]:
    return {"image": args.image, "securityProfile": "restricted", "resources": RESOURCES}


def _account(args: Operated) -> dict[str, Any]:
    metadata = {**_metadata(args, "account"), "annotations": dict(args.account_annotations)}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _rights(args: Operated) -> dict[str, dict[str, Any]]:
    """Verb by verb what `penstock.kubernetes` makes: its one namespace, and its kinds within it.

    The namespace is there first, as the stack would make it, for a role can be in none that is not there.
    """
    whole, inside = f"{args.namespace}-{args.name}-namespace", f"{args.name}-deployer"
    namespaces = [
        _rule("", "namespaces", WHOLE),
        _rule("", "namespaces", [verb for verb in VERBS if verb not in WHOLE], [args.deploys_to]),
        _rule("storage.k8s.io", "storageclasses", ["list"]),
        _rule("kueue.x-k8s.io", "clusterqueues", ["list"]),
        _rule("", "nodes", ["list"]),
        _rule(gateways.GROUP, "gateways", ["get"]),
    ]
    rules = [_rule(group, plural, VERBS) for group, plural in (*WRITTEN, *ALSO.values(), JUDGES, STORES)]
    rules += [_rule(group, plural, READ) for group, plural in WATCHED]
    rules += [_rule(*HELD, ["list"]), _rule("", "pods/log", ["get"])]
    version = f"{RBAC}/v1"
    within = {"name": inside, "namespace": args.deploys_to, "labels": labels(args.short, args.name, "gitops")}
    return {
        "namespace": workspaces.namespace(workspaces.WorkspaceArgs(args.short, args.deploys_to)),
        "namespace-role": {
            "apiVersion": version,
            "kind": "ClusterRole",
            "metadata": {"name": whole, "labels": within["labels"]},
            "rules": namespaces,
        },
        "namespace-binding": _bound(args, whole, whole, True),
        "role": {"apiVersion": version, "kind": "Role", "metadata": within, "rules": rules},
        "binding": _bound(args, inside, inside, False),
    }


def _rule(group: str, plural: str, verbs: Sequence[str], names: Sequence[str] = ()) -> dict[str, Any]:
    named = {"resourceNames": list(names)} if names else {}
    return {"apiGroups": [group], "resources": [plural], "verbs": list(verbs), **named}


def _bound(args: Operated, name: str, role: str, whole: bool) -> dict[str, Any]:
    place = {} if whole else {"namespace": args.deploys_to}
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding" if whole else "RoleBinding",
        "metadata": {"name": name, **place, "labels": labels(args.short, args.name, "gitops")},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole" if whole else "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": args.name, "namespace": args.namespace}],
    }


def _metadata(args: Operated, role: str) -> dict[str, Any]:
    return {"name": args.name, "namespace": args.namespace, "labels": labels(args.short, args.name, role)}


def _object(kind: tuple[str, str], metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": kind[0], "kind": kind[1], "metadata": dict(metadata), "spec": dict(spec)}
