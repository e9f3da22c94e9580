"""One sealed model behind Penstock and behind the model servers that people would use instead, one row a request.

After `make up`: `make bench-serve`, for the newest model of the local stack; or `--model DIR`. About 8 minutes. Every
server is one process that computes, runs the same model, gets the same 2,000 distinct rows as JSON, each in its own
protocol, and is warmed up; servers take turns. First the answers are compared. A server that does not start or answers
otherwise is named.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import _peers
from _load import Target
from _report import report
from _server import PEERS, Protocol, Row, Server

from penstock_trainer.problems.nycflights import joined

PROJECT = Path(__file__).resolve().parent.parent
SLIM = PROJECT / ".tools/serving-slim/bin/python"
ROWS, PORT = 2000, 23700


def sample_rows(schema: Mapping[str, Any]) -> list[Row]:
    """Distinct raw rows, evenly from all flights, as a client has them: what is missing is absent."""
    table = joined()
    names = [column["name"] for column in schema["columns"]]
    taken = table.take(list(range(0, table.num_rows, table.num_rows // (ROWS + 1)))[:ROWS]).select(names).to_pylist()
    rows = [{name: value for name, value in row.items() if value is not None} for row in taken]
    required = {column["name"] for column in schema["columns"] if column["required"]}
    return [row for row in rows if required <= row.keys()]


def servers(model: Path, folder: Path, schema: Mapping[str, Any]) -> list[Server]:
    """Every server, not started yet; peers whose environment cannot be made are named and left out."""
    penstock = Protocol(
        "/v1/models/flights:predict", lambda row: {"instances": [row]}, lambda answer: answer["predictions"][0]
    )
    echo = Protocol("/", lambda row: {"instances": [row]}, lambda _: float("nan"))
    quick = replace(echo, path="/quick")
    protocols = {
        "mlserver": Protocol(
            "/v2/models/flights/infer",
            lambda row: _tensors(row, schema),
            lambda answer: answer["outputs"][0]["data"][0],
        ),
        "bentoml": Protocol("/predict", lambda row: {"rows": [row]}, lambda answer: answer[0]),
        "kserve": penstock,
        "litserve": Protocol("/predict", lambda row: {"instances": [row]}, lambda answer: answer["predictions"][0]),
    }
    serve = ["-m", "penstock_serving", "--model", model, "--name", "flights", "--port"]
    tensorflow = PROJECT / "serving/.venv/bin/python"
    found: list[tuple[str, Protocol, list[str | Path]]] = [
        ("penstock slim", penstock, [SLIM, *serve, str(PORT), "--backend", "slim"]),
        ("penstock tensorflow", penstock, [tensorflow, *serve, str(PORT + 1), "--backend", "tensorflow"]),
        ("echo", echo, [SLIM, PEERS / "echo_peer.py"]),
        ("echo by the shortcut", quick, [SLIM, PEERS / "echo_peer.py"]),
    ]
    for name, protocol in protocols.items():
        try:
            python = _peers.python(PEERS / f"requirements-{name}.txt", PEERS / ".venv" / name)
        except Exception as exc:  # noqa: BLE001 (whatever keeps a peer from being installed is said)
            print(f"{name} is not measured: {exc}", flush=True)
            continue
        found.append((name, protocol, [python, PEERS / f"{name}_peer.py"]))
    # What Python compiles at the first start is kept, as in an image, whatever this shell says.
    common = {"MODEL": str(model), "PYTHONDONTWRITEBYTECODE": ""}
    common |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONPATH": str(PEERS)}
    return [
        Server(name, protocol, command, {**common, "PORT": str(PORT + i), "BATCHES": str(folder / name)}, PORT + i)
        for i, (name, protocol, command) in enumerate(found)
    ]


def _tensors(row: Row, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The row in the Open Inference Protocol: one tensor of numbers, one of texts."""
    numbers = [row.get(c["name"]) for c in schema["columns"] if c["type"] != "category"]
    texts = [row.get(c["name"], "") for c in schema["columns"] if c["type"] == "category"]
    both = {"numbers": ("FP32", numbers), "texts": ("BYTES", texts)}
    return {
        "inputs": [
            {"name": name, "shape": [1, len(values)], "datatype": kind, "data": values}
            for name, (kind, values) in both.items()
        ]
    }


def start_all(wanted: list[Server], rows: list[Row]) -> tuple[list[Server], dict[str, float]]:
    """The servers that started and answer alike, and the start-up seconds of each."""
    started: list[Server] = []
    seconds: dict[str, float] = {}
    expected: list[float] = []
    for server in wanted:
        try:
            seconds[server.name] = server.start(rows[0])
            answers = [server.protocol.answer(server.ask(row)) for row in rows[:50]]
            if not expected:
                expected = answers
            if not server.name.startswith("echo"):
                wrong = max(abs(a - b) for a, b in zip(answers, expected, strict=True))
                if not wrong <= 1e-6:
                    server.stop()
                    raise RuntimeError(f"{server.name} answers otherwise, by {wrong}")
        except (RuntimeError, OSError, KeyError, TypeError) as exc:
            print(f"{server.name} is not measured: {exc}", flush=True)
            continue
        started.append(server)
    return started, seconds


def main() -> None:
    """Print a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a sealed model (default: the local stack's newest)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each run (default: 4)")
    options = parser.parse_args()
    sealed = list((PROJECT / ".penstock/local/artifacts").glob("models/[0-9a-f]*/manifest.json"))
    if options.model is None and not sealed:
        raise SystemExit("no model is sealed yet: `make up`, or name one with --model")
    model = (options.model or max(sealed, key=lambda path: path.stat().st_mtime).parent).resolve()
    schema = json.loads((model / "schema.json").read_text())
    rows = sample_rows(schema)
    wanted = servers(model, Path(tempfile.mkdtemp()), schema)
    running: list[Server] = []
    try:
        running, started = start_all(wanted, rows)
        targets = {
            server.name: Target(server.url, [json.dumps(server.protocol.body(row)).encode() for row in rows])
            for server in running
        }
        for server in running:
            targets[server.name].closed_loop(2)
        for _ in range(options.repeats):
            for server in running:
                server.measure(targets[server.name], options.seconds)
        say(running, started, options.repeats)
        # Before the open loop, which may open many more connections to the one than to the other.
        memory = {server.name: server.mebibytes() for server in running}
        for name, mebibytes in memory.items():
            report("serve", f"{name}: resident_memory", mebibytes, "MiB")
        open_loop(running, targets, options.seconds)
    finally:
        for server in running:
            server.stop()
    cold = [again(wanted[0], rows[0]) for _ in range(options.repeats)]
    conclude({server.name: server for server in running}, memory, statistics.median(cold), options.repeats)


def again(server: Server, row: Row) -> float:
    """Seconds of one more start."""
    seconds = server.start(row)
    server.stop()
    return seconds


def say(running: list[Server], started: dict[str, float], repeats: int) -> None:
    """What each server did in the closed loop: medians."""
    for server in running:
        figures = {
            "requests_per_second": (server.median(lambda load: load.rate), "1/s"),
            "p50": (server.median(lambda load: load.p50) * 1e3, "ms"),
            "p99": (server.median(lambda load: load.p99) * 1e3, "ms"),
            "cpu_per_request": (statistics.median(server.cpu) * 1e6, "us"),
            "batch_rows": (server.batch, "rows"),
            "failed": (sum(load.failed for load in server.loads), "requests"),
            "first_start_seconds": (started[server.name], "s"),
        }
        for metric, (value, unit) in figures.items():
            report("serve", f"{server.name}: {metric}", value, unit, repeats=repeats)


def open_loop(running: list[Server], targets: Mapping[str, Target], seconds: int) -> None:
    """p99 at half and at 90 % of what each answered in the closed loop.

    One whose work fits a core, the slim one, has a core of its own, and the generator another, while its capacity is
    measured anew and while it is asked: otherwise they would take turns on both, and the wait be the kernel's. Where
    `answered` is below the rate that was asked for, it was the generator that could not follow.
    """
    cores = sorted(os.sched_getaffinity(0))
    for server in running:
        if server.name.startswith("echo"):
            continue
        target, core, capacity = targets[server.name], None, server.median(lambda load: load.rate)
        if server.name == "penstock slim" and len(cores) > 1:
            core = cores[1]
            server.pin(cores[:1])
            capacity = statistics.median(target.closed_loop(seconds, core).rate for _ in range(len(server.loads)))
            report("serve", f"{server.name}: requests_per_second, a core for each", capacity, "1/s")
        for share in (0.5, 0.9):
            rate = max(1, round(share * capacity))
            load = target.fixed_rate(rate, seconds, core)
            what = f"{server.name}: open loop at {share:.0%} ({rate}/s)"
            report("serve", f"{what}: p50", load.p50 * 1e3, "ms")
            report("serve", f"{what}: p99", load.p99 * 1e3, "ms")
            report("serve", f"{what}: failed", load.failed, "requests")
            report("serve", f"{what}: answered", load.rate, "1/s")
        if core is not None:
            server.pin(cores)


def conclude(by_name: Mapping[str, Server], memory: Mapping[str, float], cold: float, repeats: int) -> None:
    """The figures that have goals."""
    rate = {name: server.median(lambda load: load.rate) for name, server in by_name.items()}
    cpu = {name: statistics.median(server.cpu) for name, server in by_name.items()}
    peers = [name for name in by_name if not name.startswith(("penstock", "echo"))]
    best, thrifty, small = (
        max(peers, key=rate.__getitem__),
        min(peers, key=cpu.__getitem__),
        min(peers, key=memory.__getitem__),
    )
    slim, tensorflow = "penstock slim", "penstock tensorflow"

    def compare(
        metric: str, values: Mapping[str, float], mine: str, its: str, unit: str, goal: float | None, less: bool
    ) -> None:
        ratio = values[its] / values[mine] if less else values[mine] / values[its]
        report(
            "serve", metric, values[mine], unit, peer=its, peer_value=values[its], ratio=ratio, goal=goal,
            met=None if goal is None else ratio >= goal, repeats=repeats,
        )  # fmt: skip

    micro, mebi = {name: value * 1e6 for name, value in cpu.items()}, memory
    compare("requests_per_second_tensorflow_vs_best_peer", rate, tensorflow, best, "1/s", 6, less=False)
    compare("requests_per_second_slim_vs_best_peer", rate, slim, best, "1/s", 15, less=False)
    compare("requests_per_second_slim_vs_echo", rate, slim, "echo", "1/s", 0.8, less=False)
    compare("requests_per_second_slim_vs_shortcut_echo", rate, slim, "echo by the shortcut", "1/s", None, less=False)
    compare("cpu_per_request_vs_best_peer", micro, tensorflow, thrifty, "us", 5, less=True)
    compare("cpu_per_request_slim_vs_best_peer", micro, slim, thrifty, "us", 5, less=True)
    compare("rss_slim_over_best_peer", mebi, slim, small, "MiB", 8, less=True)
    report("serve", "cold_start_seconds", cold, "s", goal=0.6, met=cold <= 0.6, ratio=0.6 / cold, repeats=repeats)


if __name__ == "__main__":
    main()
