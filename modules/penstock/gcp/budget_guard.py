"""A budget that acts: it tells people, ends new trials, and takes the machines away, in stages."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

from penstock.gcp.artifact_store import ArtifactStore
from penstock.gcp.guarding import SETTINGS, STATE, records

STAGES = {"warn": 0.5, "stop_trials": 0.8, "scale_to_zero": 1.0}
"""Share of the budget at which each stage is reached, if nobody says otherwise."""
ACTING = {
    "service": ("run.services.get", "run.services.update"),
    "cluster": ("container.clusters.connect", "container.clusters.get"),
    "dataflow": ("dataflow.jobs.cancel", "dataflow.jobs.get", "dataflow.jobs.list"),
}
"""The permissions that each thing takes to be acted on; in the cluster, its own roles say what the guard may do."""
BUILDING = ("roles/artifactregistry.writer", "roles/logging.logWriter")
SHARED_CODE = ("gcp/google.py", "gcp/guarded.py", "gcp/guarding.py", "gcp/storage_api.py")
"""What of this package the function runs."""
CONTROL = "control/"
"""What of the artifact store the guard writes."""


class BudgetGuardArgs(TypedDict):
    """How much, who is told, and what is acted on."""

    project: str
    """The project whose cost is counted."""
    billing_account: str
    """The account that pays."""
    usd_per_month: float
    """The budget in US dollars a month."""
    location: str
    """Region of the function that acts."""
    stages: NotRequired[Mapping[str, float]]
    """Share of the budget by stage: warn, stop_trials, scale_to_zero. Default: 0.5, 0.8 and 1."""
    channels: NotRequired[Sequence[pulumi.Input[str]]]
    """Notification channels that are told."""
    store: NotRequired[pulumi.Input[str]]
    """Bucket of the artifacts, by which the trainer is told to begin no trial."""
    service: NotRequired[str]
    """Name of the endpoint's Cloud Run service in `location`."""
    service_account_email: NotRequired[pulumi.Input[str]]
    """The account that this service runs as; whoever changes the service must be allowed to act as it."""
    floor: NotRequired[int]
    """Replicas that the endpoint keeps when the budget is spent. Default: 1."""
    cluster: NotRequired[pulumi.Input[str]]
    """Name (DNS) of the control plane whose jobs and endpoint are acted on."""
    namespace: NotRequired[str]
    """Namespace of them."""
    dataflow: NotRequired[bool]
    """Whether Beam's jobs in `location` with the same label `environment` are cancelled. Default: false."""
    labels: NotRequired[Mapping[str, str]]
    """Labels of the topic, the bucket and the function."""
    encryption_key: NotRequired[str | None]
    """One's own key for the bucket. Default: Google's."""
    protect: NotRequired[bool]
    """Whether the guard's bucket, which says what was done, survives. Default: true."""
    approved: NotRequired[Collection[str]]
    """Names of its resources that a deployment may replace although they are protected. Default: none."""


class BudgetGuard(pulumi.ComponentResource):
    """Google tells a topic several times a day what has been spent; a function brings about what the stages say."""

    topic: pulumi.Output[str]
    """The topic that the messages go to."""
    state: pulumi.Output[str]
    """Where the guard writes down how far it is: `gs://BUCKET/budget.json`."""
    service_account_email: pulumi.Output[str]
    """The account that acts."""
    service_account_id: pulumi.Output[str]
    """Its number, by which a cluster may know it."""

    def __init__(self, name: str, args: BudgetGuardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:BudgetGuard", name, None, opts)
        child, labels = pulumi.ResourceOptions(parent=self), dict(args.get("labels", {}))
        topic = gcp.pubsub.Topic(
            f"{name}-topic", name=name, labels=labels, message_retention_duration="86400s", opts=child
        )
        _budget(name, args, topic, child)
        guard, builder = (
            gcp.serviceaccount.Account(
                f"{name}-{role}", account_id=f"{name}-{role}"[:30], display_name=f"Penstock {name}: {role}", opts=child
            )
            for role in ("guard", "builder")
        )
        _grants(name, args, guard, builder, child)
        own = ArtifactStore(
            f"{name}-guard",
            {
                "bucket": records(args["project"], name),
                "location": args["location"],
                "writers": {"guard": guard.email},
                "readers": {"builder": builder.email},
                "encryption_key": args.get("encryption_key"),
                "labels": labels,
                "protect": args.get("protect", True),
                "approved": args.get("approved", ()),
            },
            child,
        )
        function = _function(name, args, topic, guard, builder, own, child)
        gcp.cloudrunv2.ServiceIamMember(
            f"{name}-guard-invoker",
            name=function.name,
            location=args["location"],
            role="roles/run.invoker",
            member=guard.member,
            opts=child,
        )
        self.topic, self.state = topic.id, pulumi.Output.concat("gs://", own.name, f"/{STATE}")
        self.service_account_email, self.service_account_id = guard.email, guard.unique_id
        self.register_outputs({each: getattr(self, each) for each in BudgetGuard.__annotations__})


def _budget(name: str, args: BudgetGuardArgs, topic: "gcp.pubsub.Topic", opts: pulumi.ResourceOptions) -> None:
    gcp.billing.Budget(
        f"{name}-budget",
        display_name=name,
        billing_account=args["billing_account"],
        amount={"specified_amount": {"currency_code": "USD", "units": str(round(args["usd_per_month"]))}},
        budget_filter={
            "projects": [f"projects/{args['project']}"],
            "calendar_period": "MONTH",
            "credit_types_treatment": "EXCLUDE_ALL_CREDITS",
        },
        threshold_rules=[
            {"threshold_percent": share, "spend_basis": "CURRENT_SPEND"}
            for share in sorted(set(args.get("stages", STAGES).values()))
        ],
        all_updates_rule={
            "pubsub_topic": topic.id,
            "monitoring_notification_channels": list(args.get("channels", ())),
            "disable_default_iam_recipients": False,
        },
        opts=opts,
    )


def _grants(
    name: str,
    args: BudgetGuardArgs,
    guard: "gcp.serviceaccount.Account",
    builder: "gcp.serviceaccount.Account",
    opts: pulumi.ResourceOptions,
) -> None:
    project = args["project"]
    needed = sorted(each for part, permissions in ACTING.items() if args.get(part) for each in permissions)
    if needed:
        role = gcp.projects.IAMCustomRole(
            f"{name}-guard-role",
            role_id=f"{name}-guard".replace("-", "_"),
            title=f"Penstock {name}: guard of the budget",
            permissions=needed,
            opts=opts,
        )
        gcp.projects.IAMMember(f"{name}-guard-acts", project=project, role=role.name, member=guard.member, opts=opts)
    for permission in BUILDING:
        own = f"{name}-builder-{permission.rpartition('.')[2].lower()}"
        gcp.projects.IAMMember(own, project=project, role=permission, member=builder.member, opts=opts)
    server, store = args.get("service_account_email"), args.get("store")
    if server is not None:
        gcp.serviceaccount.IAMMember(
            f"{name}-guard-as-server",
            service_account_id=pulumi.Output.concat(f"projects/{project}/serviceAccounts/", server),
            role="roles/iam.serviceAccountUser",
            member=guard.member,
            opts=opts,
        )
    if store is not None:
        objects = pulumi.Output.concat("projects/_/buckets/", store, "/objects/", CONTROL)
        gcp.storage.BucketIAMMember(
            f"{name}-guard-control",
            bucket=store,
            role="roles/storage.objectUser",
            member=guard.member,
            condition={
                "title": "control",
                "expression": pulumi.Output.concat('resource.name.startsWith("', objects, '")'),
            },
            opts=opts,
        )


def _function(
    name: str,
    args: BudgetGuardArgs,
    topic: "gcp.pubsub.Topic",
    guard: "gcp.serviceaccount.Account",
    builder: "gcp.serviceaccount.Account",
    own: ArtifactStore,
    opts: pulumi.ResourceOptions,
) -> "gcp.cloudfunctionsv2.Function":
    content, location = source(), args["location"]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    archive = pulumi.AssetArchive({path: pulumi.StringAsset(text) for path, text in content.items()})
    built = gcp.storage.BucketObject(
        f"{name}-guard-source", bucket=own.name, name=f"source/{digest}.zip", source=archive, opts=opts
    )
    known = pulumi.Output.all(records=own.name, store=args.get("store", ""), cluster=args.get("cluster", ""))
    return gcp.cloudfunctionsv2.Function(
        f"{name}-guard-function",
        name=f"{name}-guard",
        location=location,
        description="Acts on the messages of the budget",
        labels=dict(args.get("labels", {})),
        build_config={
            "runtime": "python312",
            "entry_point": "guard",
            "service_account": builder.name,
            "source": {"storage_source": {"bucket": own.name, "object": built.name}},
        },
        service_config={
            # One at a time: messages are acted on in turn.
            "max_instance_count": 1,
            "max_instance_request_concurrency": 1,
            "available_memory": "256M",
            "timeout_seconds": 300,
            "ingress_settings": "ALLOW_INTERNAL_ONLY",
            "service_account_email": guard.email,
            "environment_variables": {SETTINGS: known.apply(lambda at: json.dumps(settings(args, at)))},
        },
        event_trigger={
            "trigger_region": location,
            "event_type": "google.cloud.pubsub.topic.v1.messagePublished",
            "pubsub_topic": topic.id,
            "retry_policy": "RETRY_POLICY_RETRY",
            "service_account_email": guard.email,
        },
        opts=opts,
    )


def source() -> dict[str, str]:
    """The function's files by their path: its entry, its locked requirements, and what it takes of this package."""
    package = files("penstock")
    entry = {
        name: (package / "gcp/guard_function" / name).read_text("utf-8") for name in ("main.py", "requirements.txt")
    }
    shared = {f"penstock/{name}": (package / name).read_text("utf-8") for name in SHARED_CODE}
    # The packages' own files name what is not among these; a text that is empty is no asset to Pulumi's policies.
    bare = {f"penstock/{folder}__init__.py": '"""As much as the function takes."""\n' for folder in ("", "gcp/")}
    # Ours is an error of Pulumi's, which the function does without.
    bare["penstock/errors.py"] = "class PenstockError(Exception):\n    pass\n"
    return {**entry, **bare, **shared}


def settings(args: BudgetGuardArgs, known: Mapping[str, str]) -> dict[str, object]:
    """The function's settings, once the names of buckets and of the control plane are known."""
    place = f"projects/{args['project']}/locations/{args['location']}"
    service = args.get("service")
    return {
        "stages": dict(args.get("stages", STAGES)),
        **known,
        "service": f"{place}/services/{service}" if service else "",
        "floor": args.get("floor", 1),
        "namespace": args.get("namespace", ""),
        "dataflow": place if args.get("dataflow") else "",
        "environment": args.get("labels", {}).get("environment", ""),
    }
