"""One page of what the endpoint does, and alarms that reach people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

from penstock.gcp.environment import NAMESPACE


class DashboardArgs(TypedDict):
    """What is watched, and who is told."""

    service: str
    """Name of the endpoint's service on Cloud Run; of the cluster, where `endpoint` is `gke`."""
    endpoint: NotRequired[str]
    """`cloud-run` or `gke`, whose servers' own figures managed Prometheus collects. Default: `cloud-run`."""
    namespace: NotRequired[str]
    """Of the servers on GKE. Default: `penstock`."""
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
        queries: Queries = CloudRun(args["service"])
        if args.get("endpoint") == "gke":
            queries = OnCluster(args["service"], args.get("namespace", NAMESPACE))
        gcp.monitoring.Dashboard(f"{name}-page", dashboard_json=json.dumps(page(name, queries)), opts=child)
        for title, query in queries.alarms().items():
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


class Queries(Protocol):
    """What is asked of an endpoint."""

    def alarms(self) -> dict[str, str]:
        """PromQL of each alarm by its name."""
        ...

    def charts(self) -> dict[str, dict[str, Any]]:
        """What each chart shows, by its title."""
        ...


@dataclass(frozen=True)
class CloudRun:
    """A service of Cloud Run, by what Google itself measures of it."""

    service: str

    def alarms(self) -> dict[str, str]:
        """PromQL of each alarm by its name."""
        count = "run_googleapis_com:request_count"
        latency = "run_googleapis_com:request_latencies_bucket"
        own = f'monitored_resource="cloud_run_revision",service_name="{self.service}"'
        failed = f'sum(rate({count}{{{own},response_code_class="5xx"}}[5m]))'
        return {
            "errors": f"{failed} / sum(rate({count}{{{own}}}[5m])) > 0.01",
            "slow": f"histogram_quantile(0.99, sum by (le) (rate({latency}{{{own}}}[5m]))) > 500",
        }

    def charts(self) -> dict[str, dict[str, Any]]:
        """What each chart shows, by its title."""
        own = f'resource.type="cloud_run_revision" AND resource.labels.service_name="{self.service}"'
        charts = {
            "Requests a second": ("run.googleapis.com/request_count", "ALIGN_RATE"),
            "99th percentile of answers, ms": ("run.googleapis.com/request_latencies", "ALIGN_PERCENTILE_99"),
            "Replicas": ("run.googleapis.com/container/instance_count", "ALIGN_MAX"),
            "Memory used": ("run.googleapis.com/container/memory/utilizations", "ALIGN_PERCENTILE_99"),
        }
        return {
            title: {
                "timeSeriesFilter": {
                    "filter": f'metric.type="{metric}" AND {own}',
                    "aggregation": {"alignmentPeriod": "60s", "perSeriesAligner": aligner},
                }
            }
            for title, (metric, aligner) in charts.items()
        }


@dataclass(frozen=True)
class OnCluster:
    """Servers on a cluster, by their own figures."""

    cluster: str
    namespace: str

    def alarms(self) -> dict[str, str]:
        """PromQL of each alarm by its name."""
        failed = self._rate("penstock_requests_total", 'route="predict",code=~"5.."')
        return {
            "errors": f"{failed} / {self._rate('penstock_requests_total', PREDICT)} > 0.01",
            "slow": f"{self._slowest()} > 0.5",
        }

    def charts(self) -> dict[str, dict[str, Any]]:
        """What each chart shows, by its title."""
        charts = {
            "Requests a second": self._rate("penstock_requests_total", PREDICT),
            "99th percentile of answers, s": self._slowest(),
            "Replicas": f"sum(penstock_ready{{{self._own()}}})",
            "Rows a second": self._rate("penstock_rows_total"),
        }
        return {title: {"prometheusQuery": query} for title, query in charts.items()}

    def _own(self, further: str = "") -> str:
        return ",".join(filter(None, (f'cluster="{self.cluster}"', f'namespace="{self.namespace}"', further)))

    def _rate(self, counter: str, further: str = "") -> str:
        return f"sum(rate({counter}{{{self._own(further)}}}[5m]))"

    def _slowest(self) -> str:
        seconds = f"penstock_request_duration_seconds_bucket{{{self._own()}}}"
        return f"histogram_quantile(0.99, sum by (le) (rate({seconds}[5m])))"


PREDICT = 'route="predict"'


def collected(name: str, selector: Mapping[str, str]) -> dict[str, Any]:
    """The manifest by which managed Prometheus collects the servers' figures; GKE's collectors are pods like others."""
    return {
        "apiVersion": "monitoring.googleapis.com/v1",
        "kind": "PodMonitoring",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": dict(selector)},
            "endpoints": [{"port": "http", "path": "/metrics", "interval": "30s"}],
        },
    }


def page(title: str, queries: Queries) -> dict[str, Any]:
    """The dashboard's definition."""
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
                    "widget": {
                        "title": name,
                        "xyChart": {"dataSets": [{"plotType": "LINE", "timeSeriesQuery": query}]},
                    },
                }
                for at, (name, query) in enumerate(queries.charts().items())
            ],
        },
    }
