"""What is left of an environment once it is destroyed: what Kubernetes made behind Pulumi's back.

It asks Compute Engine, never the cluster, so it works when the cluster is gone. It deletes nothing: it ends in "nothing
left" or in the list, with the command that removes each.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from penstock.gcp.google import Google
from penstock.gcp.verdict import EMULATOR


@dataclass(frozen=True)
class Left:
    """Something that still exists, and costs or blocks the network's deletion."""

    kind: str
    name: str
    where: str
    removal: str


def left(project: str, region: str, zones: tuple[str, ...], name: str) -> list[Left]:
    """Everything of the environment `name` (such as `penstock-dev`) that Compute Engine still has."""
    compute, base = Google("https://compute.googleapis.com", EMULATOR), f"/compute/v1/projects/{project}"
    network = {"filter": f'network eq ".*/{name}"'}
    found = [*_listed(compute, "firewall rule", f"{base}/global/firewalls", network, "firewall-rules", "--quiet")]
    for zone in zones:
        place = f"{base}/zones/{zone}"
        found += _listed(
            compute, "network endpoint group", f"{place}/networkEndpointGroups", network,
            "network-endpoint-groups", f"--zone={zone}",
        )  # fmt: skip
        disks = {"filter": f"labels.goog-k8s-cluster-name={name}"}
        found += _listed(compute, "disk", f"{place}/disks", disks, "disks", f"--zone={zone}")
        machines = {"filter": f"labels.goog-k8s-cluster-name={name}"}
        found += _listed(compute, "machine", f"{place}/instances", machines, "instances", f"--zone={zone}")
    rules, where = {"filter": f'network eq ".*/{name}"'}, f"--region={region}"
    found += _listed(
        compute, "load balancer", f"{base}/regions/{region}/forwardingRules", rules, "forwarding-rules", where
    )
    return found


def receipt(found: list[Left]) -> str:
    """What a person is told at the end of a destroy."""
    if not found:
        return "nothing left"
    rows = [f"  {each.kind} {each.name}{each.where}\n    {each.removal}" for each in found]
    return "\n".join([f"{len(found)} left, made by Kubernetes and not in the stack:", *rows])


def _listed(compute: Google, kind: str, path: str, query: dict[str, str], group: str, place: str) -> Iterator[Left]:
    where = f" in {place.partition('=')[2]}" if "=" in place else ""
    for each in compute.items(path, query):
        yield Left(kind, each["name"], where, f"gcloud compute {group} delete {each['name']} {place}")
