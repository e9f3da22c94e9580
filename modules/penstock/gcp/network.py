"""A private network: machines without public addresses, one way out."""

import pulumi
from typing_extensions import NotRequired, TypedDict

from penstock.gcp import compute

PODS, SERVICES = "pods", "services"
"""Names of the secondary ranges."""


class NetworkArgs(TypedDict):
    """Where the network lies."""

    region: str
    """Region of its subnetwork."""
    nodes_cidr: NotRequired[str]
    """Addresses of machines. Default: 10.40.0.0/20 (4,096)."""
    pods_cidr: NotRequired[str]
    """Addresses of pods. Default: 10.44.0.0/14 (262,144)."""
    services_cidr: NotRequired[str]
    """Addresses of Kubernetes services. Default: 10.48.0.0/20."""
    proxies_cidr: NotRequired[str]
    """Addresses of an internal load balancer's proxies. Default: none, there is no such load balancer."""


class Network(pulumi.ComponentResource):
    """A VPC with one private subnetwork and a NAT; nothing in it can be reached from outside."""

    network: pulumi.Output[str]
    """Link of the network."""
    subnetwork: pulumi.Output[str]
    """Link of the subnetwork."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:gcp:Network", name, None, opts)
        child, region = pulumi.ResourceOptions(parent=self), args["region"]
        vpc = compute.Network(f"{name}-vpc", child, name=name, auto_create_subnetworks=False, routing_mode="REGIONAL")
        subnetwork = compute.Subnetwork(
            f"{name}-nodes",
            child,
            name=f"{name}-nodes",
            network=vpc.self_link,
            region=region,
            ip_cidr_range=args.get("nodes_cidr", "10.40.0.0/20"),
            secondary_ip_ranges=[
                {"range_name": PODS, "ip_cidr_range": args.get("pods_cidr", "10.44.0.0/14")},
                {"range_name": SERVICES, "ip_cidr_range": args.get("services_cidr", "10.48.0.0/20")},
            ],
            # Storage, images and Dataflow are reached without leaving Google's network.
            private_ip_google_access=True,
            log_config={
                "aggregation_interval": "INTERVAL_10_MIN",
                "flow_sampling": 0.1,
                "metadata": "EXCLUDE_ALL_METADATA",
            },
        )
        if "proxies_cidr" in args:
            compute.Subnetwork(
                f"{name}-proxies",
                child,
                name=f"{name}-proxies",
                network=vpc.self_link,
                region=region,
                ip_cidr_range=args["proxies_cidr"],
                purpose="REGIONAL_MANAGED_PROXY",
                role="ACTIVE",
            )
        router = compute.Router(f"{name}-router", child, name=f"{name}-router", network=vpc.self_link, region=region)
        compute.RouterNat(
            f"{name}-nat",
            child,
            name=f"{name}-nat",
            router=router.name,
            region=region,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="ALL_SUBNETWORKS_ALL_IP_RANGES",
            log_config={"enable": True, "filter": "ERRORS_ONLY"},
        )
        self.network, self.subnetwork = vpc.self_link, subnetwork.self_link
        self.register_outputs({"network": self.network, "subnetwork": self.subnetwork})
