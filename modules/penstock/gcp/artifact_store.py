"""The bucket that holds artifacts, results and Beam's temporary files."""

from collections.abc import Collection, Mapping, Sequence

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

from penstock.gcp import pins

TEMPORARY = "tmp/"
"""Prefix of what may be deleted after a week."""


class ArtifactStoreArgs(TypedDict):
    """Where it lies, and who uses it."""

    bucket: str
    """Name of the bucket, unique in the world."""
    location: str
    """Region."""
    writers: NotRequired[Mapping[str, pulumi.Input[str]]]
    """E-mails of accounts that read and write, by role."""
    readers: NotRequired[Mapping[str, pulumi.Input[str]]]
    """E-mails of accounts that only read, by role."""
    keep: NotRequired[Sequence[str]]
    """Kinds of artifacts that do not age: raw, dataset, study, models. Others go after 90 days. Default: models."""
    encryption_key: NotRequired[str | None]
    """One's own key. Default: Google's."""
    labels: NotRequired[Mapping[str, str]]
    """Labels of the bucket."""
    protect: NotRequired[bool]
    """Whether a bucket with objects in it survives. Default: true."""
    approved: NotRequired[Collection[str]]
    """Names of its resources that a deployment may replace although they are protected. Default: none."""


class ArtifactStore(pulumi.ComponentResource):
    """A private bucket: uniform access, no public access, old versions kept for a month, temporary files for a week."""

    name: pulumi.Output[str]
    """Name of the bucket."""

    def __init__(self, name: str, args: ArtifactStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:ArtifactStore", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        protect = pins.kept(f"{name}-bucket", args.get("protect", True), args.get("approved", ()))
        key = args.get("encryption_key")
        bucket = gcp.storage.Bucket(
            f"{name}-bucket",
            name=args["bucket"],
            location=args["location"].upper(),
            storage_class="STANDARD",
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning={"enabled": True},
            soft_delete_policy={"retention_duration_seconds": 7 * 24 * 3600},
            lifecycle_rules=_lifecycle(args.get("keep", ("models",))),
            encryption={"default_kms_key_name": key} if key else None,
            labels=dict(args.get("labels", {})),
            force_destroy=not protect,
            opts=pulumi.ResourceOptions(parent=self, protect=protect),
        )
        grants = {
            "roles/storage.objectUser": args.get("writers", {}),
            "roles/storage.objectViewer": args.get("readers", {}),
        }
        for role, members in grants.items():
            for member, email in members.items():
                grant(f"{name}-{member}", bucket.name, role, email, child)
        self.name = bucket.name
        self.register_outputs({"name": self.name})


def grant(
    name: str, bucket: pulumi.Input[str], role: str, email: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    """A role on a bucket for a service account."""
    member = pulumi.Output.concat("serviceAccount:", email)
    return gcp.storage.BucketIAMMember(name, bucket=bucket, role=role, member=member, opts=opts)


def _lifecycle(keep: Sequence[str]) -> "list[gcp.storage.BucketLifecycleRuleArgsDict]":
    ageing = [f"{kind}/" for kind in ("raw", "dataset", "study", "models") if kind not in keep]
    rules: list[gcp.storage.BucketLifecycleRuleArgsDict] = [
        {"action": {"type": "Delete"}, "condition": {"age": 7, "matches_prefixes": [TEMPORARY]}},
        # Also of what was deleted, which no newer version has.
        {"action": {"type": "Delete"}, "condition": {"days_since_noncurrent_time": 30, "with_state": "ARCHIVED"}},
        {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}},
    ]
    if ageing:
        rules.append({"action": {"type": "Delete"}, "condition": {"age": 90, "matches_prefixes": ageing}})
    return rules
