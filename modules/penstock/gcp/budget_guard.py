"""A budget that is told to people and to a topic, at half, four fifths and all of it."""

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

THRESHOLDS = {"warn": 0.5, "stop_trials": 0.8, "scale_to_zero": 1.0}
"""Share of the budget at which each stage is reached."""


class BudgetGuardArgs(TypedDict):
    """How much, and who is told."""

    project: str
    """The project whose cost is counted."""
    billing_account: str
    """The account that pays."""
    usd_per_month: float
    """The budget in US dollars a month."""
    channels: NotRequired[Sequence[pulumi.Input[str]]]
    """Notification channels that are told."""
    labels: NotRequired[Mapping[str, str]]
    """Labels: the topic's, and of what is counted (environment)."""


class BudgetGuard(pulumi.ComponentResource):
    """Google tells the topic several times a day what has been spent."""

    topic: pulumi.Output[str]
    """The topic that the messages go to: whatever is to act on them reads its subscription."""

    def __init__(self, name: str, args: BudgetGuardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:BudgetGuard", name, None, opts)
        child, labels = pulumi.ResourceOptions(parent=self), dict(args.get("labels", {}))
        topic = gcp.pubsub.Topic(
            f"{name}-topic",
            name=name,
            labels=labels,
            message_retention_duration="86400s",
            opts=child,
        )
        gcp.pubsub.Subscription(
            f"{name}-subscription",
            name=name,
            topic=topic.id,
            labels=labels,
            ack_deadline_seconds=60,
            expiration_policy={"ttl": ""},
            opts=child,
        )
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
                {"threshold_percent": share, "spend_basis": "CURRENT_SPEND"} for share in THRESHOLDS.values()
            ],
            all_updates_rule={
                "pubsub_topic": topic.id,
                "monitoring_notification_channels": list(args.get("channels", ())),
                "disable_default_iam_recipients": False,
            },
            opts=child,
        )
        self.topic = topic.id
        self.register_outputs({"topic": self.topic})
