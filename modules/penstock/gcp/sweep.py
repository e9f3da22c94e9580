"""What is left of an environment once it is destroyed: what Kubernetes made behind Pulumi's back.

It asks Compute Engine, never the cluster, so it works when the cluster is gone. It deletes nothing: it ends in "nothing
left" or in the list, with the command that removes each.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from penstock.gcp.environment import NAMESPACE
from penstock.gcp.google import Google
from penstock.gcp.verdict import EMULATOR


@dataclass(frozen=True)
class Left:
    """Something that still exists, and costs or blocks the network's deletion."""

    kind: str
    name: str
    where: str
    removal: str


def left(project: str, region: str, zones: tuple[str, ...], name: str, beam: bool = False) -> list[Left]:
    """Everything of the environment `name` (such as `penstock-dev`) that Compute Engine still has, and Dataflow's
    running jobs, where there is `beam`.
    """
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
    subnetwork = {"filter": f'subnetwork eq ".*/{name}-.*"'}
    # What a Gateway is made of has neither network nor labels; its names hold the namespace.
    gateway = {"filter": f'name eq "gkegw.*-{NAMESPACE}-.*"'}
    # In the order in which they can be removed: each is in use by the one before it.
    for kind, path, query, group in (
        ("load balancer", "forwardingRules", network, "forwarding-rules"),
        ("HTTP proxy", "targetHttpProxies", gateway, "target-http-proxies"),
        ("HTTPS proxy", "targetHttpsProxies", gateway, "target-https-proxies"),
        ("URL map", "urlMaps", gateway, "url-maps"),
        ("backend service", "backendServices", gateway, "backend-services"),
        ("health check", "healthChecks", gateway, "health-checks"),
        ("regional network endpoint group", "networkEndpointGroups", network, "network-endpoint-groups"),
        ("address", "addresses", subnetwork, "addresses"),
    ):
        found += _listed(compute, kind, f"{base}/regions/{region}/{path}", query, group, f"--region={region}")
    return [*found, *(_jobs(project, region, name) if beam else ())]


def _jobs(project: str, region: str, name: str) -> Iterator[Left]:
    """A job whose launcher was taken away goes on by itself, and is paid for."""
    dataflow = Google("https://dataflow.googleapis.com", EMULATOR)
    path, environment = f"/v1b3/projects/{project}/locations/{region}/jobs", name.removeprefix("penstock-")
    for job in dataflow.items(path, {"filter": "ACTIVE"}, "jobs"):
        if job.get("labels", {}).get("environment") == environment:
            removal = f"gcloud dataflow jobs cancel {job['id']} --region={region}"
            yield Left("running Dataflow job", job["name"], f" in {region}", removal)


def receipt(found: list[Left], finished: bool = True) -> str:
    """What a person is told at the end of a destroy; `finished`: whether all that the stack knows of is removed."""
    if not found:
        return "nothing left" if finished else "nothing is left behind the stack's back"
    whose = "made behind the stack's back" if finished else "the stack's own, or made behind its back"
    rows = [f"  {each.kind} {each.name}{each.where}\n    {each.removal}" for each in found]
    return "\n".join([f"{len(found)} left, {whose}:", *rows])


def _listed(compute: Google, kind: str, path: str, query: dict[str, str], group: str, place: str) -> Iterator[Left]:
    where = f" in {place.partition('=')[2]}" if "=" in place else ""
    for each in compute.items(path, query):
        yield Left(kind, each["name"], where, f"gcloud compute {group} delete {each['name']} {place}")
