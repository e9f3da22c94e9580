"""Plans past one machine, from measured rates and recorded prices: writes the tables of docs/planning.md anew.

.venv/bin/python tools/planning.py
"""

from dataclasses import dataclass
from pathlib import Path

from penstock.gcp.prices import DATAFLOW_DISK_GIB, DATAFLOW_WORKER, laddered, machine, table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "planning.md"
BEGIN, END = "<!-- computed by tools/planning.py -->", "<!-- end -->"

# Of docs/measurements.md, where each is with its command and machine.
ROWS_PER_CPU_SECOND = 161_000
"""Preprocessing of one large CSV file by one process."""
BYTES_PER_ROW = 6e9 / 33_677_600
"""Of those rows."""
VALUES_PER_CPU_SECOND = 335_000
"""Of a category column of ten million different values, counted alone: the worst case."""
EXAMPLES_PER_CPU_SECOND = 149_200
"""Training in one process, on both of two cores: half of 298,400 examples/s."""
INPUT_PER_CPU_SECOND = 953_000
"""Examples read, shuffled and featurised for the training."""


@dataclass(frozen=True)
class Data:
    """Criteo's click logs of 24 days."""

    rows: float = 4_373_472_329
    bytes: float = 1e12
    categories: int = 26


@dataclass(frozen=True)
class Machines:
    """As in Google's demonstration of 2017."""

    beam_workers: int = 60
    workers: int = 60
    servers: int = 29
    machine_type: str = "e2-standard-4"
    vcpus: int = 4
    gigabytes_per_second: float = 1.25
    """Of a machine's network: 10 Gbit/s, as Google's table says for this size; not measured."""
    dimension: int = 16
    """Of each category's embedding."""


def preprocessing(data: Data, machines: Machines) -> list[tuple[str, float, float]]:
    """What is counted, its CPU-seconds, and its minutes on all workers."""
    rows = data.bytes / (ROWS_PER_CPU_SECOND * BYTES_PER_ROW)
    categories = data.categories * data.rows / VALUES_PER_CPU_SECOND
    cases = {
        "at the measured rate, by bytes": rows,
        "every category column of the worst kind besides": rows + categories,
    }
    return [(name, cpu, cpu / machines.beam_workers / 60) for name, cpu in cases.items()]


def training(data: Data, machines: Machines) -> dict[str, float]:
    """Examples a second that each part of an epoch allows."""
    exchanged = data.categories * machines.dimension * 4 * 2
    cores = machines.workers * machines.vcpus
    return {
        "computing, as one process does, on all cores": cores * EXAMPLES_PER_CPU_SECOND,
        "reading and featurising": cores * INPUT_PER_CPU_SECOND,
        f"the servers' network, {exchanged:,} bytes an example": (
            machines.servers * machines.gigabytes_per_second * 1e9 / exchanged
        ),
    }


def tables(data: Data, machines: Machines) -> str:
    """The page's tables."""
    prices = table()
    vcpus, gib = DATAFLOW_WORKER
    worker = {"vcpu": vcpus, "gib": gib, "disk-gib": DATAFLOW_DISK_GIB}
    hour = machines.beam_workers * sum(amount * prices[f"dataflow-{unit}"].usd for unit, amount in worker.items())
    shuffled = data.bytes / 2**30 * prices["dataflow-shuffle-gib"].usd
    lines = [
        f"{data.rows:,.0f} rows, {data.bytes / 1e12:g} TB, {data.categories} category columns.",
        "",
        f"| preprocessing on {machines.beam_workers} Dataflow workers of {vcpus:g} vCPU | CPU-hours | minutes | USD, "
        "disks included | USD more, if all were shuffled |",
        "|---|---|---|---|---|",
    ]
    for name, cpu, minutes in preprocessing(data, machines):
        usd = hour * minutes / 60
        lines.append(f"| {name} | {cpu / 3600:,.1f} | {minutes:,.0f} | {usd:,.2f} | {shuffled:,.2f} |")
    allowed = training(data, machines)
    slowest = min(allowed, key=lambda name: allowed[name])
    each = machine(machines.machine_type, prices)
    cheap = laddered(each, ("spot", "on-demand"))
    assert each is not None
    assert cheap is not None
    count = machines.workers + machines.servers
    what = f"one epoch on {machines.workers} workers and {machines.servers} servers, {machines.machine_type}"
    lines += ["", f"| {what} | examples/s at most | minutes at least |", "|---|---|---|"]
    for name, rate in allowed.items():
        minutes = data.rows / rate / 60
        lines.append(
            f"| {name}{' **(the first bottleneck)**' if name == slowest else ''} | {rate:,.0f} | {minutes:,.1f} |"
        )
    hours = data.rows / allowed[slowest] / 3600
    low, high = (count * hours * bound for bound in (cheap.usd * cheap.low, cheap.usd))
    lines += [
        "",
        f"That epoch costs {low:,.2f} (Spot, at best) to {high:,.2f} USD, if the bottleneck is the only delay.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Writes the tables."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    PAGE.write_text(f"{head}{BEGIN}\n\n{tables(Data(), Machines())}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
