"""One service account a role, without keys, each with the least that its role takes."""

from collections.abc import Mapping

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

PROJECT_ROLES: dict[str, tuple[str, ...]] = {
    "nodes": ("roles/container.defaultNodeServiceAccount",),
    "trainer": (),
    "server": (),
    "beam": ("roles/dataflow.worker",),
    "notebook": ("roles/logging.logWriter",),
}
"""Roles on the project by identity; all else is granted on one bucket, repository or account."""
DATAFLOW_LAUNCHERS = ("trainer", "notebook")


class IdentitiesArgs(TypedDict):
    """Who is needed."""

    project: str
    """The project."""
    roles: NotRequired[tuple[str, ...]]
    """Which identities. Default: all: nodes, trainer, server, beam, notebook."""
    workloads: NotRequired[Mapping[str, tuple[str, str]]]
    """Kubernetes namespace and account that may act as an identity, by identity."""
    database_users: NotRequired[tuple[str, ...]]
    """Identities that sign in to databases. Default: none."""


class Identities(pulumi.ComponentResource):
    """Service accounts by role."""

    emails: dict[str, pulumi.Output[str]]
    """E-mail of each, by role."""

    def __init__(self, name: str, args: IdentitiesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:Identities", name, None, opts)
        child, project = pulumi.ResourceOptions(parent=self), args["project"]
        accounts = {
            role: gcp.serviceaccount.Account(
                f"{name}-{role}",
                account_id=f"{name}-{role}"[:30],
                display_name=f"Penstock {name}: {role}",
                create_ignore_already_exists=False,
                opts=child,
            )
            for role in args.get("roles", tuple(PROJECT_ROLES))
        }
        self.emails = {role: account.email for role, account in accounts.items()}
        for role in accounts:
            granted = PROJECT_ROLES[role] + (
                ("roles/dataflow.developer",) if role in DATAFLOW_LAUNCHERS and "beam" in accounts else ()
            )
            granted += ("roles/cloudsql.instanceUser",) if role in args.get("database_users", ()) else ()
            for permission in granted:
                gcp.projects.IAMMember(
                    f"{name}-{role}-{permission.rpartition('.')[2].lower()}",
                    project=project,
                    role=permission,
                    member=accounts[role].member,
                    opts=child,
                )
            if role in DATAFLOW_LAUNCHERS and "beam" in accounts:
                _may_act_as(f"{name}-{role}-as-beam", accounts["beam"], accounts[role].member, child)
        for role, (namespace, account) in args.get("workloads", {}).items():
            member = f"serviceAccount:{project}.svc.id.goog[{namespace}/{account}]"
            _may_act_as(f"{name}-{role}-workload", accounts[role], member, child, "roles/iam.workloadIdentityUser")
        self.register_outputs({"emails": self.emails})


def _may_act_as(
    name: str,
    account: "gcp.serviceaccount.Account",
    member: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    role: str = "roles/iam.serviceAccountUser",
) -> None:
    gcp.serviceaccount.IAMMember(name, service_account_id=account.name, role=role, member=member, opts=opts)
