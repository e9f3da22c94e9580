"""How GitHub's workflows act on Google Cloud: for one repository, without a key, by what its job is."""

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

from penstock.gcp.deploying import GRANTED, deploying, looking

ISSUER = "https://token.actions.githubusercontent.com"
ATTRIBUTES = {
    "google.subject": "assertion.sub",
    "attribute.repository": "assertion.repository",
    "attribute.environment": "assertion.environment",
}


class GitHubAccessArgs(TypedDict):
    """Which repository, and which of its environments do what."""

    project: str
    """The project that is deployed to."""
    repository: str
    """The repository: `acme/penstock`."""
    repository_id: str
    """Its number, which nobody else gets when the name is given up: `gh api repos/acme/penstock --jq .id`."""
    deploys: NotRequired[Sequence[str]]
    """GitHub environments whose jobs deploy, each the stack of its name; approval is theirs. Default: dev."""
    looks: NotRequired[Sequence[str]]
    """GitHub environments whose jobs only look: previews. Default: preview-dev."""
    state: NotRequired[pulumi.Input[str]]
    """Bucket of Pulumi's state, which both need. Default: the state is elsewhere."""


class GitHubAccess(pulumi.ComponentResource):
    """A pool that knows one repository, an account that deploys and one that only looks."""

    provider: pulumi.Output[str]
    """What the workflows call `WORKLOAD_IDENTITY_PROVIDER`."""
    deployer: pulumi.Output[str]
    """E-mail of the account that deploys: `DEPLOYER_SERVICE_ACCOUNT`."""
    viewer: pulumi.Output[str]
    """E-mail of the account that only looks: `VIEWER_SERVICE_ACCOUNT`."""

    def __init__(self, name: str, args: GitHubAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:GitHubAccess", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        pool = gcp.iam.WorkloadIdentityPool(
            f"{name}-pool",
            workload_identity_pool_id=f"{name}-github"[:32],
            display_name="GitHub",
            description=f"Workflows of {args['repository']}",
            opts=child,
        )
        provider = gcp.iam.WorkloadIdentityPoolProvider(
            f"{name}-provider",
            workload_identity_pool_id=pool.workload_identity_pool_id,
            workload_identity_pool_provider_id="github",
            attribute_mapping=ATTRIBUTES,
            # All of GitHub has the same issuer: without this, any repository would get in.
            attribute_condition=condition(args["repository"], args["repository_id"]),
            oidc={"issuer_uri": ISSUER},
            opts=child,
        )
        self.provider = provider.name
        jobs: Mapping[str, Sequence[str]] = {
            "deployer": args.get("deploys", ("dev",)),
            "viewer": args.get("looks", ("preview-dev",)),
        }
        accounts = {role: self._account(name, role, places, pool, args, child) for role, places in jobs.items()}
        guards = [guard_role(args["project"], stack) for stack in jobs["deployer"]]
        _grants(name, args["project"], accounts, guards, child)
        self.deployer, self.viewer = accounts["deployer"].email, accounts["viewer"].email
        self.register_outputs({each: getattr(self, each) for each in GitHubAccess.__annotations__})

    def _account(
        self,
        name: str,
        role: str,
        environments: Sequence[str],
        pool: "gcp.iam.WorkloadIdentityPool",
        args: GitHubAccessArgs,
        child: pulumi.ResourceOptions,
    ) -> "gcp.serviceaccount.Account":
        account = gcp.serviceaccount.Account(
            f"{name}-{role}", account_id=f"{name}-{role}"[:30], display_name=f"GitHub: {role}", opts=child
        )
        for environment in environments:
            gcp.serviceaccount.IAMMember(
                f"{name}-{role}-{environment}",
                service_account_id=account.name,
                role="roles/iam.workloadIdentityUser",
                member=pulumi.Output.concat(
                    "principalSet://iam.googleapis.com/", pool.name, "/attribute.environment/", environment
                ),
                opts=child,
            )
        if (state := args.get("state")) is not None:
            # A preview takes the stack's lock, and writes no state.
            gcp.storage.BucketIAMMember(
                f"{name}-{role}-state",
                bucket=state,
                role="roles/storage.objectUser",
                member=account.member,
                opts=child,
            )
        return account


def condition(repository: str, number: str) -> str:
    """Whose tokens the pool takes, in Google's expression language."""
    return f"assertion.repository == '{repository}' && assertion.repository_id == '{number}'"


def guard_role(project: str, stack: str) -> str:
    """The role that a stack makes for its budget's guard."""
    return f"projects/{project}/roles/penstock_{stack.replace('-', '_')}_guard"


def _grants(
    name: str,
    project: str,
    accounts: Mapping[str, "gcp.serviceaccount.Account"],
    guards: Sequence[str],
    child: pulumi.ResourceOptions,
) -> None:
    """Roles of our own, permission by permission, and the right to grant what the modules grant and nothing else."""
    for role, permissions in {"deployer": deploying(), "viewer": looking()}.items():
        custom = gcp.projects.IAMCustomRole(
            f"{name}-{role}-role",
            role_id=f"{name}-{role}".replace("-", "_"),
            title=f"Penstock: GitHub's {role}",
            permissions=permissions,
            opts=child,
        )
        gcp.projects.IAMMember(
            f"{name}-{role}-may", project=project, role=custom.name, member=accounts[role].member, opts=child
        )
    granting = gcp.projects.IAMCustomRole(
        f"{name}-granting-role",
        role_id=f"{name}-granting".replace("-", "_"),
        title="Penstock: grants what the modules grant",
        permissions=["resourcemanager.projects.getIamPolicy", "resourcemanager.projects.setIamPolicy"],
        opts=child,
    )
    only = ", ".join(f"'{role}'" for role in (*GRANTED, *guards))
    gcp.projects.IAMMember(
        f"{name}-granting",
        project=project,
        role=granting.name,
        member=accounts["deployer"].member,
        condition={
            "title": "only the modules' roles",
            "expression": f"api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([{only}])",
        },
        opts=child,
    )
