"""A PostgreSQL for studies that many processes share; no public address, no password."""

from collections.abc import Collection, Mapping
from urllib.parse import quote

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

from penstock.gcp import compute, pins


class StudyDatabaseArgs(TypedDict):
    """Where it lies, and who uses it."""

    region: str
    """Region."""
    network: pulumi.Input[str]
    """Link of the network it is reached from."""
    user: pulumi.Input[str]
    """E-mail of the service account that signs in."""
    tier: NotRequired[str]
    """Machine. Default: db-f1-micro."""
    encryption_key: NotRequired[str | None]
    """One's own key. Default: Google's."""
    labels: NotRequired[Mapping[str, str]]
    """Labels of the instance."""
    protect: NotRequired[bool]
    """Whether it refuses to be deleted or replaced. Default: true."""
    approved: NotRequired[Collection[str]]
    """Names of its resources that a deployment may replace although they are protected. Default: none."""


class StudyDatabase(pulumi.ComponentResource):
    """Cloud SQL with a private address, encrypted connections, daily backups and Google's sign-in."""

    url: pulumi.Output[str]
    """`postgresql://USER@ADDRESS/studies?sslmode=require`: no password, the sign-in is the caller's own identity."""
    address: pulumi.Output[str]
    """Its private address."""

    def __init__(self, name: str, args: StudyDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:StudyDatabase", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        protect = pins.kept(f"{name}-instance", args.get("protect", True), args.get("approved", ()))
        addresses = compute.GlobalAddress(
            f"{name}-addresses",
            child,
            name=f"{name}-services",
            purpose="VPC_PEERING",
            address_type="INTERNAL",
            prefix_length=20,
            network=args["network"],
            labels=dict(args.get("labels", {})),
        )
        peering = gcp.servicenetworking.Connection(
            f"{name}-peering",
            network=args["network"],
            service="servicenetworking.googleapis.com",
            reserved_peering_ranges=[addresses.name],
            # Google holds the connection for days after the last instance is gone; the network must not wait for it.
            deletion_policy="REMOVE_PEERING",
            opts=child,
        )
        instance = gcp.sql.DatabaseInstance(
            f"{name}-instance",
            name=name,
            region=args["region"],
            database_version="POSTGRES_17",
            encryption_key_name=args.get("encryption_key"),
            deletion_protection=protect,
            settings=_settings(args, protect),
            # The peering is how Google puts the instance into the network; no output says so.
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[peering], protect=protect, ignore_changes=pins.DATABASE_DRIFT
            ),
        )
        # Neither can be deleted once somebody has rights or tables in it; both go with the instance.
        database = gcp.sql.Database(
            f"{name}-studies", name="studies", instance=instance.name, deletion_policy="ABANDON", opts=child
        )
        user = gcp.sql.User(
            f"{name}-user",
            instance=instance.name,
            type="CLOUD_IAM_SERVICE_ACCOUNT",
            # Whom Google signs in may do nothing in a database until somebody says so.
            database_roles=["cloudsqlsuperuser"],
            deletion_policy="ABANDON",
            name=pulumi.Output.from_input(args["user"]).apply(lambda email: email.removesuffix(".gserviceaccount.com")),
            opts=child,
        )
        self.address = instance.private_ip_address
        who = user.name.apply(lambda known: quote(known, safe=""))
        self.url = pulumi.Output.concat("postgresql://", who, "@", self.address, "/", database.name, "?sslmode=require")
        self.register_outputs({"url": self.url, "address": self.address})


def _settings(args: StudyDatabaseArgs, protect: bool) -> "gcp.sql.DatabaseInstanceSettingsArgsDict":
    return {
        "tier": args.get("tier", "db-f1-micro"),
        "edition": "ENTERPRISE",
        "availability_type": "ZONAL",
        "disk_autoresize": True,
        "ip_configuration": {
            "ipv4_enabled": False,
            "private_network": args["network"],
            "ssl_mode": "ENCRYPTED_ONLY",
        },
        "backup_configuration": {"enabled": True, "point_in_time_recovery_enabled": True},
        "database_flags": [{"name": "cloudsql.iam_authentication", "value": "on"}],
        "user_labels": dict(args.get("labels", {})),
        "deletion_protection_enabled": protect,
    }
