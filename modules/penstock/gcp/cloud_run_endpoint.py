"""A model behind Cloud Run: from no replica to many, for those who may call."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

from penstock.gcp import pins
from penstock.kubernetes import keys
from penstock.kubernetes.pods import KEYS

PORT = 8080
STORE = "artifacts"


class CloudRunEndpointArgs(TypedDict):
    """What is served, by whom, to whom."""

    location: str
    """Region."""
    image: str
    """The server's image, pinned by digest."""
    command: Sequence[pulumi.Input[str]]
    """Arguments of the server: the model's folder under the mount, its name, its digest."""
    bucket: pulumi.Input[str]
    """The artifact store, mounted read-only."""
    mount: str
    """Where it is mounted."""
    service_account_email: pulumi.Input[str]
    """The account that the server runs as."""
    service: NotRequired[str]
    """Name of the service. Default: the component's."""
    callers: NotRequired[Sequence[str]]
    """Who may call: `user:`, `group:`, `serviceAccount:`. Default: nobody but the project's owners."""
    min_replicas: NotRequired[int]
    """Replicas that are always there. Default: 0."""
    max_replicas: NotRequired[int]
    """Replicas at most. Default: 4."""
    concurrency: NotRequired[int]
    """Requests that a replica answers at the same time. Default: 80."""
    traffic: NotRequired[Mapping[str, int]]
    """Percent of the requests by revision. Default: all to the newest."""
    probe: NotRequired[str]
    """Path that answers 200 when the model is loaded. Default: /readyz."""
    verify_key: NotRequired[str | None]
    """Path of the Ed25519 public key (PEM) whose owner must have signed a model. Default: a seal that holds will do."""
    encryption_key: NotRequired[str | None]
    """One's own key, in the region, for the secret that keeps the server's key. Default: Google's."""
    labels: NotRequired[Mapping[str, str]]
    """Labels of the service, and of what keeps its key."""
    protect: NotRequired[bool]
    """Whether Google refuses to delete it, and Pulumi to replace it. Default: true."""
    approved: NotRequired[Collection[str]]
    """Names of its resources that a deployment may replace although they are protected. Default: none."""
    internet: NotRequired[bool]
    """Whether requests may come from outside the project's networks; Google asks who calls all the same.
    Default: false."""


class CloudRunEndpoint(pulumi.ComponentResource):
    """The server refuses to start with any model but the sealed one, so no revision can serve another."""

    url: pulumi.Output[str]
    """Base URL."""

    def __init__(self, name: str, args: CloudRunEndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:CloudRunEndpoint", name, None, opts)
        protect = pins.kept(f"{name}-service", args.get("protect", True), args.get("approved", ()))
        key = _key(name, args, pulumi.ResourceOptions(parent=self))
        service = gcp.cloudrunv2.Service(
            f"{name}-service",
            name=args.get("service", name),
            location=args["location"],
            # From wherever it is reached, only callers with the invoker's role are answered.
            ingress="INGRESS_TRAFFIC_ALL" if args.get("internet") else "INGRESS_TRAFFIC_INTERNAL_ONLY",
            deletion_protection=protect,
            labels=dict(args.get("labels", {})),
            # Of the service, not of a revision: the budget's guard lowers it without making one.
            scaling={"min_instance_count": args.get("min_replicas", 0)},
            template=_template(args, key),
            traffics=_traffic(args.get("traffic", {})),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=protect,
                ignore_changes=pins.SERVICE_DRIFT,
                # Cloud Run looks whether the server may read its key when the service is made.
                depends_on=[key.grant] if key else [],
            ),
        )
        for caller in args.get("callers", ()):
            gcp.cloudrunv2.ServiceIamMember(
                f"{name}-{caller.replace(':', '-').replace('@', '-')}",
                name=service.name,
                location=args["location"],
                role="roles/run.invoker",
                member=caller,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.url = service.uri
        self.register_outputs({"url": self.url})


class _Key(NamedTuple):
    """A key as a file of the server's."""

    arguments: Sequence[str]
    volume: "gcp.cloudrunv2.ServiceTemplateVolumeArgsDict"
    grant: pulumi.Resource


def _key(name: str, args: CloudRunEndpointArgs, opts: pulumi.ResourceOptions) -> _Key | None:
    """What signatures are verified by, kept where Cloud Run mounts files from, for the server's account alone."""
    path = args.get("verify_key")
    if not path:
        return None
    ((file, content),) = keys.contents(Path(), [path]).items()
    replica: gcp.secretmanager.SecretReplicationUserManagedReplicaArgsDict = {"location": args["location"]}
    if own := args.get("encryption_key"):
        replica["customer_managed_encryption"] = {"kms_key_name": own}
    secret = gcp.secretmanager.Secret(
        f"{name}-key",
        secret_id=f"{args.get('service', name)}-verify-key",
        replication={"user_managed": {"replicas": [replica]}},
        labels=dict(args.get("labels", {})),
        opts=opts,
    )
    # Written and never read back: whoever previews or deploys needs no leave to read secrets.
    version = gcp.secretmanager.SecretVersion(
        f"{name}-key-version",
        secret=secret.id,
        secret_data_wo=pulumi.Output.secret(content),
        secret_data_wo_version=hashlib.sha256(content.encode()).hexdigest()[:16],
        opts=opts,
    )
    grant = gcp.secretmanager.SecretIamMember(
        f"{name}-key-server",
        secret_id=secret.secret_id,
        role="roles/secretmanager.secretAccessor",
        member=pulumi.Output.concat("serviceAccount:", args["service_account_email"]),
        opts=opts,
    )
    volume: gcp.cloudrunv2.ServiceTemplateVolumeArgsDict = {
        "name": "keys",
        "secret": {"secret": secret.secret_id, "items": [{"path": file, "version": version.version}]},
    }
    return _Key(["--verify-key", keys.in_pod(path)], volume, grant)


def _template(args: CloudRunEndpointArgs, key: _Key | None) -> "gcp.cloudrunv2.ServiceTemplateArgsDict":
    probe = args.get("probe", "/readyz")
    volumes: list[gcp.cloudrunv2.ServiceTemplateVolumeArgsDict] = [
        {"name": STORE, "gcs": {"bucket": args["bucket"], "read_only": True}}
    ]
    mounts: list[gcp.cloudrunv2.ServiceTemplateContainerVolumeMountArgsDict] = [
        {"name": STORE, "mount_path": args["mount"]}
    ]
    command = [*args["command"], "--host", "0.0.0.0", "--port", str(PORT)]
    if key:
        volumes.append(key.volume)
        mounts.append({"name": key.volume["name"], "mount_path": KEYS})
        command += key.arguments
    return {
        "service_account": args["service_account_email"],
        "execution_environment": "EXECUTION_ENVIRONMENT_GEN2",
        "max_instance_request_concurrency": args.get("concurrency", 80),
        "timeout": "60s",
        "scaling": {"max_instance_count": args.get("max_replicas", 4)},
        "labels": dict(args.get("labels", {})),
        "volumes": volumes,
        "containers": [
            {
                "image": args["image"],
                "args": command,
                "ports": {"container_port": PORT},
                "resources": {
                    "limits": {"cpu": "2", "memory": "2Gi"},
                    # Paid for only while it answers; started with more.
                    "cpu_idle": True,
                    "startup_cpu_boost": True,
                },
                "volume_mounts": mounts,
                "startup_probe": {
                    "http_get": {"path": probe, "port": PORT},
                    "period_seconds": 2,
                    "failure_threshold": 60,
                    "timeout_seconds": 2,
                },
                "liveness_probe": {"http_get": {"path": "/healthz", "port": PORT}, "period_seconds": 30},
            }
        ],
    }


def _traffic(shares: Mapping[str, int]) -> "list[gcp.cloudrunv2.ServiceTrafficArgsDict]":
    if not shares:
        return [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}]
    return [
        {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": revision, "percent": percent}
        for revision, percent in sorted(shares.items())
    ]
