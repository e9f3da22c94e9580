"""One page of what the endpoint does, and alarms that reach people."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

RESOURCE = {"cloud-run": "cloud_run_revision", "gke": "k8s_container"}


class DashboardArgs(TypedDict):
    """What is watched, and who is told."""

    service: str
    """Name of the endpoint's service."""
    notify: NotRequired[Sequence[str]]
    """Addresses that get alarms."""
    labels: NotRequired[Mapping[str, str]]
    """Labels of channels and alarms."""


class Dashboard(pulumi.ComponentResource):
    """Requests, errors, time to answer and replicas; alarms on errors and slow answers."""

    channels: list[pulumi.Output[str]]
    """Notification channels, for whoever else has something to tell."""

    def __init__(self, name: str, args: DashboardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:Dashboard", name, None, opts)
        child, labels = pulumi.ResourceOptions(parent=self), dict(args.get("labels", {}))
        self.channels = [
            gcp.monitoring.NotificationChannel(
                f"{name}-{address.replace('@', '-')}",
                type="email",
                display_name=address,
                labels={"email_address": address},
                user_labels=labels,
                opts=child,
            ).name
            for address in args.get("notify", ())
        ]
        gcp.monitoring.Dashboard(f"{name}-page", dashboard_json=json.dumps(page(name, args["service"])), opts=child)
        for title, query in alarms(args["service"]).items():
            gcp.monitoring.AlertPolicy(
                f"{name}-{title}",
                display_name=f"{name}: {title}",
                combiner="OR",
                conditions=[
                    {
                        "display_name": title,
                        "condition_prometheus_query_language": {
                            "query": query,
                            "duration": "300s",
                            "evaluation_interval": "60s",
                        },
                    }
                ],
                notification_channels=self.channels,
                user_labels=labels,
                severity="ERROR",
                opts=child,
            )
        self.register_outputs({"channels": self.channels})


def alarms(service: str) -> dict[str, str]:
    """PromQL of each alarm by its name."""
    count = "run_googleapis_com:request_count"
    latency = "run_googleapis_com:request_latencies_bucket"
    own = f'monitored_resource="cloud_run_revision",service_name="{service}"'
    return {
        "errors": f'sum(rate({count}{{{own},response_code_class="5xx"}}[5m])) / sum(rate({count}{{{own}}}[5m])) > 0.01',
        "slow": f"histogram_quantile(0.99, sum by (le) (rate({latency}{{{own}}}[5m]))) > 500",
    }


def page(title: str, service: str) -> dict[str, Any]:
    """The dashboard's definition."""
    own = f'resource.type="cloud_run_revision" AND resource.labels.service_name="{service}"'
    charts = {
        "Requests a second": ("run.googleapis.com/request_count", "ALIGN_RATE"),
        "99th percentile of answers, ms": ("run.googleapis.com/request_latencies", "ALIGN_PERCENTILE_99"),
        "Replicas": ("run.googleapis.com/container/instance_count", "ALIGN_MAX"),
        "Memory used": ("run.googleapis.com/container/memory/utilizations", "ALIGN_PERCENTILE_99"),
    }
    return {
        "displayName": title,
        "mosaicLayout": {
            "columns": 48,
            "tiles": [
                {
                    "xPos": 24 * (at % 2),
                    "yPos": 16 * (at // 2),
                    "width": 24,
                    "height": 16,
                    "widget": _chart(name, own, *what),
                }
                for at, (name, what) in enumerate(charts.items())
            ],
        },
    }


def _chart(name: str, own: str, metric: str, aligner: str) -> dict[str, Any]:
    wanted = {
        "filter": f'metric.type="{metric}" AND {own}',
        "aggregation": {"alignmentPeriod": "60s", "perSeriesAligner": aligner},
    }
    return {
        "title": name,
        "xyChart": {"dataSets": [{"plotType": "LINE", "timeSeriesQuery": {"timeSeriesFilter": wanted}}]},
    }
