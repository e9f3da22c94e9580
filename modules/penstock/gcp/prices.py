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

SPOT = 0.09
"""Google gives 60 to 91 percent off for Spot machines: the best case. The worst is that it has none, and ordinary ones
stand in for them at the list price."""
GIB_PER_VCPU = {"standard": 4.0, "highmem": 8.0, "highcpu": 1.0}
N1_GIB_PER_VCPU = {"standard": 3.75, "highmem": 6.5, "highcpu": 0.9}
DATAFLOW_WORKER = (1.0, 3.75)
"""vCPUs and GiB of the machine that Dataflow takes for a batch job by itself."""
CLOUD_RUN_REPLICA = (2.0, 2.0)


def table() -> dict[str, Price]:
    """The recorded prices by name."""
    text = (files("penstock.gcp") / "prices.csv").read_text(encoding="utf-8")
    return {
        row["name"]: Price(float(row["usd"]), row["unit"], row["recorded"], row["source"], float(row["low"]))
        for row in csv.DictReader(text.splitlines())
    }


def cost(environment: Environment, run_hours: float = 1.0, own: Mapping[str, float] | None = None) -> dict[str, Any]:
    """The estimate of an environment; a run is taken to keep all its machines busy for `run_hours`."""
    return estimate(rows(environment, run_hours, overridden(table(), own or {})))


def rows(environment: Environment, run_hours: float, prices: Mapping[str, Price]) -> list[Row]:
    """Everything that costs."""
    found = [Row("NAT gateway", prices["nat-gateway"], 1, 1)]
    if environment.clustered:
        found += [
            Row("GKE control plane", prices["gke-cluster"], 1, 1),
            Row(f"system node {SYSTEM_MACHINE}", machine(SYSTEM_MACHINE, prices), 1, SYSTEM_NODES),
            _disks(environment, run_hours, prices["pd-balanced-100gib"]),
        ]
    if environment.trains:
        found += _training(environment, run_hours, prices)
    if environment.endpoint == "cloud-run":
        found += [
            Row(
                "Cloud Run vCPU while answering",
                prices["cloud-run-vcpu"],
                *_replicas(environment, CLOUD_RUN_REPLICA[0]),
            ),
            Row(
                "Cloud Run GiB while answering", prices["cloud-run-gib"], *_replicas(environment, CLOUD_RUN_REPLICA[1])
            ),
        ]
    else:
        nodes = (server_nodes(replicas) for replicas in (environment.min_replicas, environment.max_replicas))
        found.append(Row(f"server node {SERVER_MACHINE}", machine(SERVER_MACHINE, prices), *nodes))
    if environment.study_database:
        found.append(Row("Cloud SQL db-f1-micro", prices["db-f1-micro"], 1, 1))
    if environment.notebook:
        found.append(Row(f"notebook {NOTEBOOK_MACHINE}, while awake", machine(NOTEBOOK_MACHINE, prices), 0, 1))
    return found


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
    return Row(f"disks of nodes, {NODE_DISK_GIB} GiB", each, idle, sum(nodes.values()), training * run_hours)


def _training(environment: Environment, run_hours: float, prices: Mapping[str, Price]) -> list[Row]:
    each = machine(environment.machine_type, prices)
    nodes = environment.max_nodes
    what = f"node {environment.machine_type}{_kind(environment.rungs)}"
    found = [Row(what, laddered(each, environment.rungs), 0, nodes, nodes * run_hours)]
    if environment.beam == "dataflow":
        workers = environment.max_beam_workers
        for unit, amount in zip(("vcpu", "gib"), DATAFLOW_WORKER, strict=True):
            row = Row(f"Dataflow {unit}", prices[f"dataflow-{unit}"], 0, amount * workers, amount * workers * run_hours)
            found.append(row)
    accelerator = environment.accelerator
    if accelerator is not None:
        shape = accelerator.shape
        price, count = machine(shape.machine_type, prices), accelerator.nodes
        if accelerator.type in accelerators.TPUS:
            price, count = prices.get(accelerator.type), accelerator.nodes * shape.chips_per_node
        if shape.machine_type.startswith("n1-") and price is not None:
            price = replace(price, usd=price.usd + accelerator.count * prices[accelerator.type].usd)
        what = f"{accelerator.type} on {shape.machine_type}{_kind(accelerator.rungs)}"
        found.append(Row(what, laddered(price, accelerator.rungs), 0, count, count * run_hours))
    return found


def _kind(rungs: Sequence[str]) -> str:
    return ", Spot or else ordinary" if "spot" in rungs else ""


def _replicas(environment: Environment, amount: float) -> tuple[float, float]:
    return amount * environment.min_replicas, amount * environment.max_replicas
