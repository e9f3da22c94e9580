"""Leave to use one's own key, for the accounts by which Google encrypts: without it nothing that uses the key is made.

Which account encrypts what was written down on 2026-11-28 from memory of Google's public documentation, without a look
online.
"""

from collections.abc import Collection

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

ROLE = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
AGENTS = {
    "cluster": "service-{number}@container-engine-robot.iam.gserviceaccount.com",
    "disks": "service-{number}@compute-system.iam.gserviceaccount.com",
    "dataflow": "service-{number}@dataflow-service-producer-prod.iam.gserviceaccount.com",
}
"""Accounts that are there once their interface is enabled."""
MADE = {
    "database": "sqladmin.googleapis.com",
    "images": "artifactregistry.googleapis.com",
    "secrets": "secretmanager.googleapis.com",
}
"""Services whose account is made when it is asked for."""


class KeyAccessArgs(TypedDict):
    """Which key, and what it is for."""

    project: str
    """The project whose resources the key encrypts; the key itself may lie in another."""
    key: str
    """`projects/.../locations/.../keyRings/.../cryptoKeys/...`."""
    uses: NotRequired[Collection[str]]
    """Of buckets, cluster (its Secrets), database, dataflow, disks, images, secrets (Secret Manager's).
    Default: buckets."""


class KeyAccess(pulumi.ComponentResource):
    """Each account may encrypt and decrypt by the key, and nothing else."""

    grants: list[pulumi.Resource]
    """What anything that is to be encrypted must wait for."""

    def __init__(self, name: str, args: KeyAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:KeyAccess", name, None, opts)
        child, uses = pulumi.ResourceOptions(parent=self), args.get("uses", ("buckets",))
        # Asking for the account of Cloud Storage makes it, and its name tells the project's number.
        asked = gcp.storage.get_project_service_account_output(
            project=args["project"], opts=pulumi.InvokeOutputOptions(parent=self)
        )
        storage = asked.email_address
        number = storage.apply(lambda email: email.partition("@")[0].removeprefix("service-"))
        members: dict[str, pulumi.Input[str]] = {"buckets": pulumi.Output.concat("serviceAccount:", storage)}
        for use, email in AGENTS.items():
            members[use] = number.apply(lambda known, email=email: f"serviceAccount:{email.format(number=known)}")
        for use, service in MADE.items():
            if use in uses:
                identity = gcp.projects.ServiceIdentity(
                    f"{name}-{use}", project=args["project"], service=service, opts=child
                )
                members[use] = identity.member
        self.grants = [
            gcp.kms.CryptoKeyIAMMember(
                f"{name}-{use}", crypto_key_id=args["key"], role=ROLE, member=members[use], opts=child
            )
            for use in sorted(uses)
        ]
        self.register_outputs({})
