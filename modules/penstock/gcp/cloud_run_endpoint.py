"""A model behind Cloud Run: from no replica to many, for those who may call."""

from collections.abc import Collection, Mapping, Sequence

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

from penstock.gcp import pins

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
    labels: NotRequired[Mapping[str, str]]
    """Labels of the service."""
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
            template=_template(args),
            traffics=_traffic(args.get("traffic", {})),
            opts=pulumi.ResourceOptions(parent=self, protect=protect, ignore_changes=pins.SERVICE_DRIFT),
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


def _template(args: CloudRunEndpointArgs) -> "gcp.cloudrunv2.ServiceTemplateArgsDict":
    probe = args.get("probe", "/readyz")
    return {
        "service_account": args["service_account_email"],
        "execution_environment": "EXECUTION_ENVIRONMENT_GEN2",
        "max_instance_request_concurrency": args.get("concurrency", 80),
        "timeout": "60s",
        "scaling": {"max_instance_count": args.get("max_replicas", 4)},
        "labels": dict(args.get("labels", {})),
        "volumes": [{"name": STORE, "gcs": {"bucket": args["bucket"], "read_only": True}}],
        "containers": [
            {
                "image": args["image"],
                "args": [*args["command"], "--host", "0.0.0.0", "--port", str(PORT)],
                "ports": {"container_port": PORT},
                "resources": {
                    "limits": {"cpu": "2", "memory": "2Gi"},
                    # Paid for only while it answers; started with more.
                    "cpu_idle": True,
                    "startup_cpu_boost": True,
                },
                "volume_mounts": [{"name": STORE, "mount_path": args["mount"]}],
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
