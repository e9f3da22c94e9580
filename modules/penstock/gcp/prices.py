"""What an environment costs: its parts, and the recorded list prices. Pure but for reading the table."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any

from penstock.gcp import accelerators
from penstock.gcp.environment import (
    NODE_DISK_GIB,
    NOTEBOOK_MACHINE,
    SERVER_MACHINE,
    SYSTEM_MACHINE,
    SYSTEM_NODES,
    Environment,
    server_nodes,
)
from penstock.pricing import Price, Row, estimate, overridden

REGION = "us-central1"
"""Whose prices are recorded."""
SPOT = 0.09
"""Google gives 60 to 91 percent off for Spot machines: the best case. The worst is that it has none, and ordinary ones
stand in for them at the list price."""
GIB_PER_VCPU = {"standard": 4.0, "highmem": 8.0, "highcpu": 1.0}
N1_GIB_PER_VCPU = {"standard": 3.75, "highmem": 6.5, "highcpu": 0.9}
DATAFLOW_WORKER = (1.0, 3.75)
"""vCPUs and GiB of the machine that Dataflow takes for a batch job by itself."""
DATAFLOW_DISK_GIB = 25
"""Of a batch job's worker whose shuffle is Dataflow's own."""
CLOUD_RUN_REPLICA = (2.0, 2.0)
PROXIES = 3
"""Of an internal load balancer, at least."""
DATABASE_DISK_GIB = 10
"""What Cloud SQL gives by itself; it grows."""
NOTEBOOK_DISK_GIB = 150 + 100
"""What Workbench gives by itself: to start from, and for files."""

BUCKET, CLUSTER, POOL = (
    "gcp:storage/bucket:Bucket",
    "gcp:container/cluster:Cluster",
    "gcp:container/nodePool:NodePool",
)
CLOUD_RUN = "gcp:cloudrunv2/service:Service"
GATEWAY = "kubernetes:gateway.networking.k8s.io/v1:Gateway"
DATABASE = "gcp:sql/databaseInstance:DatabaseInstance"
NOTEBOOK = "gcp:workbench/instance:Instance"
WATCHED = (
    "gcp:monitoring/alertPolicy:AlertPolicy",
    "kubernetes:monitoring.googleapis.com/v1:PodMonitoring",
)


def table() -> dict[str, Price]:
    """The recorded prices by name."""
    text = (files("penstock.gcp") / "prices.csv").read_text(encoding="utf-8")
    return {
        row["name"]: Price(float(row["usd"]), row["unit"], row["recorded"], row["source"], float(row["low"]))
        for row in csv.DictReader(text.splitlines())
    }


def cost(environment: Environment, run_hours: float = 1.0, own: Mapping[str, float] | None = None) -> dict[str, Any]:
    """The estimate of an environment; a run is taken to keep all its machines busy for `run_hours`."""
    elsewhere = "" if environment.region == REGION else f", not of {environment.region}"
    note = (
        f"list prices of {REGION}{elsewhere}, as recorded with their sources in prices.csv, without discounts, free "
        "tiers and taxes; a bill may differ"
    )
    return estimate(rows(environment, run_hours, overridden(table(), own or {})), note)


def rows(environment: Environment, run_hours: float, prices: Mapping[str, Price]) -> list[Row]:
    """Everything that costs."""
    gib = environment.run_gib
    held = gib * run_hours if environment.trains else 0
    nat, registry = "gcp:compute/routerNat:RouterNat", "gcp:artifactregistry/repository:Repository"
    found = [
        Row("NAT gateway", prices["nat-gateway"], 1, 1, of=(nat,)),
        Row("GiB through the NAT", prices["nat-gib"], of=(nat,)),
        Row("GiB in the bucket", prices["storage-gib"], gib, gib, held, of=(BUCKET,)),
        Row("changes in the bucket", prices["storage-writes"], of=(BUCKET,)),
        Row("reads from the bucket", prices["storage-reads"], of=(BUCKET,)),
        Row("GiB of images", prices["registry-gib"], of=(registry,)),
        Row("logs, metrics and alarms", None, of=WATCHED),
    ]
    if environment.clustered:
        found += [
            Row("GKE control plane", prices["gke-cluster"], 1, 1, of=(CLUSTER,)),
            Row(f"system node {SYSTEM_MACHINE}", machine(SYSTEM_MACHINE, prices), 1, SYSTEM_NODES, of=(POOL,)),
            _disks(environment, run_hours, prices["pd-balanced-gib"]),
        ]
    if environment.trains:
        found += _training(environment, run_hours, prices)
    found += _endpoint(environment, prices)
    return [*found, *_further(environment, prices)]


def machine(machine_type: str, prices: Mapping[str, Price]) -> Price | None:
    """The price of one machine an hour: its own, or that of its processors and memory; None where none is recorded."""
    if machine_type in prices:
        return prices[machine_type]
    family, shape, size = machine_type.split("-")[:3] if machine_type.count("-") >= 2 else (machine_type, "", "")
    memory = (N1_GIB_PER_VCPU if family == "n1" else GIB_PER_VCPU).get(shape)
    if f"{family}-vcpu" not in prices or memory is None or not size.isdecimal():
        return None
    processor, gib = prices[f"{family}-vcpu"], prices[f"{family}-gib"]
    return Price(int(size) * (processor.usd + memory * gib.usd), "hour", processor.recorded, processor.source)


def laddered(price: Price | None, rungs: Sequence[str]) -> Price | None:
    """What a machine costs that is taken from the first of the rungs which has one."""
    if price is None or "spot" not in rungs:
        return price
    return replace(price, low=SPOT)


def _disks(environment: Environment, run_hours: float, each: Price) -> Row:
    """Every node has one."""
    nodes = environment.nodes
    training = nodes.get("training", 0) + nodes.get("accelerated", 0)
    idle = 1 + (server_nodes(environment.min_replicas) if "serving" in nodes else 0)
    amounts = (NODE_DISK_GIB * count for count in (idle, sum(nodes.values()), training * run_hours))
    return Row("GiB of nodes' disks", each, *amounts, of=(POOL,))


def _training(environment: Environment, run_hours: float, prices: Mapping[str, Price]) -> list[Row]:
    each = machine(environment.machine_type, prices)
    nodes = environment.max_nodes
    what = f"node {environment.machine_type}{_kind(environment.rungs)}"
    found = [Row(what, laddered(each, environment.rungs), 0, nodes, nodes * run_hours, of=(POOL,))]
    if environment.beam == "dataflow":
        workers = environment.max_beam_workers
        amounts = dict(zip(("vcpu", "gib"), DATAFLOW_WORKER, strict=True)) | {"disk-gib": DATAFLOW_DISK_GIB}
        for unit, amount in amounts.items():
            count = amount * workers
            found.append(Row(f"Dataflow {unit}", prices[f"dataflow-{unit}"], 0, count, count * run_hours))
        found.append(Row("Dataflow shuffle", prices["dataflow-shuffle-gib"], 0, 0, environment.run_gib))
    accelerator = environment.accelerator
    if accelerator is not None:
        shape = accelerator.shape
        price, count = machine(shape.machine_type, prices), accelerator.nodes
        if accelerator.type in accelerators.TPUS:
            price, count = prices.get(accelerator.type), accelerator.nodes * shape.chips_per_node
        if shape.machine_type.startswith("n1-") and price is not None:
            price = replace(price, usd=price.usd + accelerator.count * prices[accelerator.type].usd)
        what = f"{accelerator.type} on {shape.machine_type}{_kind(accelerator.rungs)}"
        found.append(Row(what, laddered(price, accelerator.rungs), 0, count, count * run_hours, of=(POOL,)))
    return found


def _endpoint(environment: Environment, prices: Mapping[str, Price]) -> list[Row]:
    low, high = environment.min_replicas, environment.max_replicas
    if environment.endpoint == "gke":
        nodes = (server_nodes(low), server_nodes(high))
        return [
            Row(f"server node {SERVER_MACHINE}", machine(SERVER_MACHINE, prices), *nodes, of=(POOL,)),
            Row("load balancer's forwarding rule", prices["forwarding-rule"], 1, 1, of=(GATEWAY,)),
            Row("load balancer's proxies", prices["load-balancer-proxy"], PROXIES, PROXIES, of=(GATEWAY,)),
            Row("GiB through the load balancer", prices["load-balancer-gib"], of=(GATEWAY,)),
        ]
    vcpus, gibs = CLOUD_RUN_REPLICA
    secret = "gcp:secretmanager/secret:Secret"
    found = [
        Row("Cloud Run vCPU while answering", prices["cloud-run-vcpu"], vcpus * low, vcpus * high, of=(CLOUD_RUN,)),
        Row("Cloud Run GiB while answering", prices["cloud-run-gib"], gibs * low, gibs * high, of=(CLOUD_RUN,)),
        Row("Cloud Run requests", prices["cloud-run-requests"], of=(CLOUD_RUN,)),
        Row("the key that models are verified by", None, of=(secret, "gcp:secretmanager/secretVersion:SecretVersion")),
    ]
    if environment.internet:
        found.append(Row("GiB to the internet", prices["egress-gib"], of=(CLOUD_RUN,)))
    return found


def _further(environment: Environment, prices: Mapping[str, Price]) -> list[Row]:
    found: list[Row] = []
    if environment.study_database:
        gib = DATABASE_DISK_GIB
        found += [
            Row("Cloud SQL db-f1-micro", prices["db-f1-micro"], 1, 1, of=(DATABASE,)),
            Row("GiB of Cloud SQL's disk", prices["sql-disk-gib"], gib, gib, of=(DATABASE,)),
            Row("GiB of Cloud SQL's backups", prices["sql-backup-gib"], gib, gib, of=(DATABASE,)),
        ]
    if environment.notebook:
        gib, awake = NOTEBOOK_DISK_GIB, machine(NOTEBOOK_MACHINE, prices)
        found += [
            Row(f"notebook {NOTEBOOK_MACHINE}, while awake", awake, 0, 1, of=(NOTEBOOK,)),
            Row("GiB of the notebook's disks", prices["notebook-disk-gib"], gib, gib, of=(NOTEBOOK,)),
        ]
    if environment.budget:
        guard = ("gcp:cloudfunctionsv2/function:Function", "gcp:pubsub/topic:Topic")
        found.append(Row("vCPU of the budget's guard", prices["cloud-run-vcpu"], of=guard))
    if environment.encryption_key:
        found.append(Row("uses of your own key", None))
    return found


def _kind(rungs: Sequence[str]) -> str:
    return ", Spot or else ordinary" if "spot" in rungs else ""
