"""What all replicas of an endpoint observed, judged together on a schedule: pure functions.

The replicas write their windows to one folder of the stack's claim. A CronJob reads them; its Job fails where it finds
skew, and a webhook is told of it once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from penstock.kubernetes import kinds
from penstock.kubernetes.pods import OBSERVATIONS, Machine, PodSpec, labels, pod
from penstock.platform import Program, Resources

DEADLINE_SECONDS = 600
KEPT = {"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 3}
RULES = ("--minimum-rows", "--windows-in-a-row", "--skew-ignore")


@dataclass(frozen=True)
class WatchArgs:
    """What a monitor takes."""

    stack: str
    image: str
    claim: str
    schedule: str
    """When it judges, as cron writes it."""
    model_name: str
    secret: bool = False
    """Whether a Secret of its name holds its environment."""
    machine: Machine = field(default_factory=Machine)


def folder(endpoint: str) -> str:
    """Where on the claim an endpoint's windows are."""
    return f"observations/{endpoint}"


def monitor(endpoint: str, model: str, monitoring: Sequence[str], args: WatchArgs) -> dict[str, Any]:
    """The CronJob; `monitoring` are the arguments of the endpoint's servers, of which it takes those that judge."""
    name = f"{endpoint}-skew"
    secret = {"envFrom": [{"secretRef": {"name": name}}]} if args.secret else {}
    spec = PodSpec(
        program=Program.SERVER,
        image=args.image,
        arguments=[
            *("--model", model, "--name", args.model_name, "--observations", OBSERVATIONS),
            *("--tell", "--waiting-is-quiet"),
            *_rules(monitoring),
        ],
        resources=Resources(0.2, 0.5),
        machine=args.machine,
        claim=args.claim,
        writes=False,
        observations=folder(endpoint),
        extra={"command": ["python", "-m", "penstock_serving.skew"], **secret},
    )
    own = labels(args.stack, name, "monitor")
    job = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        "template": {"metadata": {"labels": own}, "spec": {**pod(spec), "restartPolicy": "Never"}},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "labels": own},
        "spec": {
            "schedule": args.schedule,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": DEADLINE_SECONDS,
            **KEPT,
            "jobTemplate": {"metadata": {"labels": own}, "spec": job},
        },
    }


def secret(endpoint: str, stack: str) -> dict[str, Any]:
    """What the webhook's URL is kept in, without the URL itself."""
    name = f"{endpoint}-skew"
    return kinds.secret(name, labels(stack, name, "webhook"))


def edge(endpoint: str, stack: str, port: Any) -> dict[str, Any]:
    """The monitor reaches the webhook's port, wherever that is: policies know no names."""
    name = f"{endpoint}-skew"
    return kinds.way_out(name, stack, name, {"ports": [{"protocol": "TCP", "port": port}]})


def port(url: str) -> int:
    """The port of a webhook's URL, which is nothing secret."""
    found = urlsplit(url)
    return found.port or (80 if found.scheme == "http" else 443)


def _rules(monitoring: Sequence[str]) -> list[str]:
    pairs = zip(monitoring[::2], monitoring[1::2], strict=True)
    return [each for flag, value in pairs if flag in RULES for each in (flag, value)]
