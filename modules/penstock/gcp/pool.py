"""Machines for training, from zero: ordinary, GPU or TPU, in the order in which they are tried."""

from collections.abc import Collection, Mapping
from typing import Any

import pulumi
import pulumi_gcp as gcp
from typing_extensions import NotRequired, TypedDict

from penstock.gcp import accelerators, compute, pins
from penstock.gcp.environment import Accelerator
from penstock.gcp.node_config import node_config

COMPUTE_CLASS = "cloud.google.com/compute-class"
FLEX_SECONDS = 7 * 24 * 3600
"""Flex-start and queued machines live seven days at most."""


class PoolArgs(TypedDict):
    """What a pool has in common with others of its cluster."""

    cluster: pulumi.Input[str]
    """Name of the cluster."""
    location: str
    """The cluster's location."""
    zones: list[str]
    """Zones of the machines."""
    node_service_account: pulumi.Input[str]
    """E-mail of the account that nodes run as."""
    labels: NotRequired[Mapping[str, str]]
    """Labels of its machines."""
    compute_class: NotRequired[str]
    """The fallback ladder that the pool is a rung of: only pods that ask for it are placed here."""
    encryption_key: NotRequired[str | None]
    """One's own key for the machines' disks. Default: Google's."""
    protect: NotRequired[bool]
    """Whether Pulumi refuses to replace it. Default: false: a pool holds no data."""
    approved: NotRequired[Collection[str]]
    """Names of its resources that a deployment may replace although they are protected. Default: none."""


class MachinePool(pulumi.ComponentResource):
    """Ordinary machines, from none to `max_nodes`."""

    name: pulumi.Output[str]
    """Name of the pool."""

    def __init__(
        self,
        name: str,
        args: PoolArgs,
        machine_type: str,
        max_nodes: int,
        spot: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("penstock:gcp:MachinePool", name, None, opts)
        config = node_config(
            machine_type,
            args["node_service_account"],
            args.get("labels", {}),
            args.get("encryption_key"),
            spot=spot,
            **_rung(args),
        )
        self.name = _pool(name, args, max_nodes, config, self).name
        self.register_outputs({"name": self.name})


class AcceleratorPool(pulumi.ComponentResource):
    """GPU or TPU machines, from none to the accelerator's `max_nodes`; drivers are Google's to install."""

    name: pulumi.Output[str]
    """Name of the pool."""

    def __init__(
        self, name: str, args: PoolArgs, accelerator: Accelerator, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("penstock:gcp:AcceleratorPool", name, None, opts)
        shape = accelerator.shape
        config = node_config(
            shape.machine_type,
            args["node_service_account"],
            args.get("labels", {}),
            args.get("encryption_key"),
            **_rung(args),
            **_devices(accelerator),
            **_provisioning(accelerator),
        )
        further: dict[str, Any] = {}
        if shape.nodes_per_slice > 1:
            further["placement_policy"] = self._placement(name, args, accelerator)
        if accelerator.provisioning == "queued":
            further["queued_provisioning"] = {"enabled": True}
        self.name = _pool(name, args, accelerator.nodes, config, self, **further).name
        self.register_outputs({"name": self.name})

    def _placement(self, name: str, args: PoolArgs, accelerator: Accelerator) -> dict[str, Any]:
        """All machines of a slice beside each other."""
        placement: dict[str, Any] = {"type": "COMPACT", "tpu_topology": accelerator.topology}
        if accelerators.TPUS[accelerator.type].workload_policy:
            policy = compute.ResourcePolicy(
                f"{name}-placement",
                pulumi.ResourceOptions(parent=self),
                name=name,
                region=args["zones"][0].rpartition("-")[0],
                workload_policy={"type": "HIGH_THROUGHPUT", "accelerator_topology": accelerator.topology},
            )
            placement["policy_name"] = policy.name
        return placement


def _pool(
    name: str, args: PoolArgs, max_nodes: int, config: Any, parent: pulumi.Resource, **further: Any
) -> "gcp.container.NodePool":
    flexible = "flex_start" in config or "queued_provisioning" in further
    drift = [*pins.POOL_DRIFT, *(pins.DRIVER_DRIFT if "guest_accelerators" in config else ())]
    return gcp.container.NodePool(
        f"{name}-pool",
        name=name,
        cluster=args["cluster"],
        location=args["location"],
        node_locations=args["zones"],
        autoscaling={"total_min_node_count": 0, "total_max_node_count": max_nodes, "location_policy": "ANY"},
        # Google repairs and upgrades; machines of a week are neither.
        management={"auto_repair": not flexible, "auto_upgrade": True},
        network_config={"enable_private_nodes": True},
        node_config=config,
        opts=pulumi.ResourceOptions(
            parent=parent,
            protect=pins.kept(f"{name}-pool", args.get("protect", False), args.get("approved", ())),
            ignore_changes=drift,
        ),
        **further,
    )


def _rung(args: PoolArgs) -> dict[str, Any]:
    ladder = args.get("compute_class")
    if ladder is None:
        return {}
    return {
        "labels": {COMPUTE_CLASS: ladder},
        "taints": [{"key": COMPUTE_CLASS, "value": ladder, "effect": "NO_SCHEDULE"}],
    }


def _devices(accelerator: Accelerator) -> dict[str, Any]:
    if accelerator.type in accelerators.TPUS:
        return {}
    device: dict[str, Any] = {
        "type": accelerator.type,
        "count": accelerator.count,
        "gpu_driver_installation_config": {"gpu_driver_version": "DEFAULT"},
    }
    if accelerator.sharing > 1:
        device["gpu_sharing_config"] = {
            "gpu_sharing_strategy": "TIME_SHARING",
            "max_shared_clients_per_gpu": accelerator.sharing,
        }
    if accelerator.mig is not None:
        device["gpu_partition_size"] = accelerator.mig
    return {"guest_accelerators": [device]}


def _provisioning(accelerator: Accelerator) -> dict[str, Any]:
    match accelerator.provisioning:
        case "spot":
            return {"spot": True}
        case "flex-start":
            return {
                "flex_start": True,
                "max_run_duration": f"{FLEX_SECONDS}s",
                "reservation_affinity": _no_reservation(),
            }
        case "queued":
            return {"max_run_duration": f"{FLEX_SECONDS}s", "reservation_affinity": _no_reservation()}
        case "reservation":
            return {
                "reservation_affinity": {
                    "consume_reservation_type": "SPECIFIC_RESERVATION",
                    "key": "compute.googleapis.com/reservation-name",
                    "values": [accelerator.reservation],
                }
            }
        case _:
            return {}


def _no_reservation() -> dict[str, str]:
    return {"consume_reservation_type": "NO_RESERVATION"}
