"""A private GKE cluster: the control plane is reached by name with Google's own sign-in, nodes not at all."""

import json
from collections.abc import Collection, Mapping
from typing import Any

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

from penstock.gcp import pins
from penstock.gcp.environment import SYSTEM_MACHINE, SYSTEM_NODES
from penstock.gcp.network import PODS, SERVICES
from penstock.gcp.node_config import node_config


class ClusterArgs(TypedDict):
    """What the cluster stands on."""

    project: str
    """The project."""
    location: str
    """A zone (one control plane, cheaper) or a region (three)."""
    network: pulumi.Input[str]
    """Link of the network."""
    subnetwork: pulumi.Input[str]
    """Link of the subnetwork, with the secondary ranges `pods` and `services`."""
    node_service_account: pulumi.Input[str]
    """E-mail of the account that nodes run as."""
    zones: NotRequired[list[str]]
    """Zones of the nodes. Default: the location's own."""
    labels: NotRequired[Mapping[str, str]]
    """Labels of all that it makes."""
    encryption_key: NotRequired[str | None]
    """One's own key, for the nodes' disks and for the Secrets in the control plane. Default: Google's."""
    protect: NotRequired[bool]
    """Whether Google refuses to delete it, and Pulumi to replace it. Default: true."""
    approved: NotRequired[Collection[str]]
    """Names of its resources that a deployment may replace although they are protected. Default: none."""


class Cluster(pulumi.ComponentResource):
    """Private shielded nodes, Workload Identity, Dataplane V2, Gateway API, Cloud Storage FUSE, image streaming."""

    name: pulumi.Output[str]
    """Name of the cluster."""
    endpoint: pulumi.Output[str]
    """The control plane's DNS name."""
    kubeconfig: pulumi.Output[str]
    """How Kubernetes clients reach it; they sign in by `gke-gcloud-auth-plugin`, no key is in it."""

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:Cluster", name, None, opts)
        labels = dict(args.get("labels", {}))
        protect, system = (
            pins.kept(each, args.get("protect", True), args.get("approved", ()))
            for each in (f"{name}-gke", f"{name}-system")
        )
        cluster = gcp.container.Cluster(
            f"{name}-gke",
            **_security(args["project"], args.get("encryption_key")),
            **_features(),
            name=name,
            location=args["location"],
            node_locations=[zone for zone in args.get("zones", []) if zone != args["location"]],
            network=args["network"],
            subnetwork=args["subnetwork"],
            networking_mode="VPC_NATIVE",
            ip_allocation_policy={"cluster_secondary_range_name": PODS, "services_secondary_range_name": SERVICES},
            # Pools are resources of their own; GKE insists on making one first.
            remove_default_node_pool=True,
            initial_node_count=1,
            resource_labels=labels,
            deletion_protection=protect,
            opts=pulumi.ResourceOptions(parent=self, protect=protect, ignore_changes=pins.CLUSTER_DRIFT),
        )
        gcp.container.NodePool(
            f"{name}-system",
            name="system",
            cluster=cluster.name,
            location=args["location"],
            autoscaling={"total_min_node_count": 1, "total_max_node_count": SYSTEM_NODES, "location_policy": "ANY"},
            management={"auto_repair": True, "auto_upgrade": True},
            network_config={"enable_private_nodes": True},
            node_config=node_config(SYSTEM_MACHINE, args["node_service_account"], labels, args.get("encryption_key")),
            opts=pulumi.ResourceOptions(parent=self, protect=system, ignore_changes=pins.POOL_DRIFT),
        )
        self.name = cluster.name
        self.endpoint = cluster.control_plane_endpoints_config.apply(_dns_name)
        self.kubeconfig = pulumi.Output.all(self.name, self.endpoint).apply(lambda known: kubeconfig(*known))
        self.register_outputs({"name": self.name, "endpoint": self.endpoint, "kubeconfig": self.kubeconfig})


def kubeconfig(name: str, endpoint: str) -> str:
    """A kubeconfig without secrets; the DNS endpoint has a public certificate."""
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "gke-gcloud-auth-plugin",
        "provideClusterInfo": True,
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": f"https://{endpoint}"}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "users": [{"name": name, "user": {"exec": plugin}}],
        }
    )


def _security(project: str, encryption_key: str | None) -> dict[str, Any]:
    own_key = {"database_encryption": {"state": "ENCRYPTED", "key_name": encryption_key}} if encryption_key else {}
    return {
        **own_key,
        "private_cluster_config": {"enable_private_nodes": True},
        # Reached by its DNS name, behind Google's sign-in; no address of it is on the internet.
        "control_plane_endpoints_config": {
            "dns_endpoint_config": {"allow_external_traffic": True},
            "ip_endpoints_config": {"enabled": False},
        },
        "workload_identity_config": {"workload_pool": f"{project}.svc.id.goog"},
        "enable_shielded_nodes": True,
        "enable_legacy_abac": False,
        "master_auth": {"client_certificate_config": {"issue_client_certificate": False}},
        "datapath_provider": "ADVANCED_DATAPATH",
        "enable_intranode_visibility": True,
        "security_posture_config": {"mode": "BASIC", "vulnerability_mode": "VULNERABILITY_DISABLED"},
        "release_channel": {"channel": "REGULAR"},
    }


def _features() -> dict[str, Any]:
    return {
        "gateway_api_config": {"channel": "CHANNEL_STANDARD"},
        "addons_config": {
            "gcs_fuse_csi_driver_config": {"enabled": True},
            "http_load_balancing": {"disabled": False},
            "dns_cache_config": {"enabled": True},
        },
        "node_pool_defaults": {"node_config_defaults": {"gcfs_config": {"enabled": True}}},
        "cost_management_config": {"enabled": True},
        "vertical_pod_autoscaling": {"enabled": True},
        "logging_config": {"enable_components": ["SYSTEM_COMPONENTS", "WORKLOADS"]},
        "monitoring_config": {
            "enable_components": ["SYSTEM_COMPONENTS", "JOBSET"],
            "managed_prometheus": {"enabled": True},
        },
        # Upgrades by night, in the middle of the week's ends.
        "maintenance_policy": {
            "recurring_window": {
                "start_time": "2026-01-03T02:00:00Z",
                "end_time": "2026-01-03T08:00:00Z",
                "recurrence": "FREQ=WEEKLY;BYDAY=SA,SU",
            }
        },
    }


def _dns_name(found: Any) -> str:
    dns = found.dns_endpoint_config if found else None
    return (dns.endpoint if dns else None) or ""
