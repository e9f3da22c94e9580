"""An embedding table larger than what any one parameter server may hold.

    trainer/.venv/bin/python benchmarks/table.py [--limit 896] [--servers 12] [--rows 400000]

Every parameter server runs under `prlimit --data`, a limit that the kernel keeps, and of which TensorFlow's code and
threads take 520 MiB (stacks count whole, so they are of 1 MiB). The table (`_visits.py`, its values
alone, without Adam's two moments for each) is `TABLE` times as large as it. On 2 servers the job has to end with the
reason; on enough of them it has to train: which items are liked is in the table and nowhere else, so accuracy shows
that its rows were learned.

Before that, one process trains with tables of two sizes by the trainer's Adam, which changes the rows that a step uses,
and by Keras' own, which changes all: steps a second of the second epoch.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _visits
from _job import RunningJob
from _measure import usage
from _report import report

TABLE = 1.1
MIB = 1 << 20
ALONE = (4, 256)
"""MiB of the tables of one process."""


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=896, help="MiB a parameter server may hold (default: 896)")
    parser.add_argument("--servers", type=int, default=12, help="parameter servers that are enough (default: 12)")
    parser.add_argument("--rows", type=int, default=400_000, help="raw rows (default: 400000)")
    parser.add_argument("--alone", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(*options.alone)
        return
    buckets = int(options.limit * MIB * TABLE / 4 / _visits.DIMENSION)
    os.environ |= {"VISITS_BUCKETS": str(buckets), "TF_CPP_MIN_LOG_LEVEL": "2", "TF_USE_LEGACY_KERAS": "1"}
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        folder = Path(name)
        raw = folder / "visits.parquet"
        _visits.write(raw, options.rows)
        where = ["--problem", _visits.__file__, "--artifacts", str(folder / "artifacts")]
        usage([sys.executable, "-m", "penstock_trainer", "preprocess", *where, "--raw", raw])
        (dataset,) = (path.parent for path in folder.glob("artifacts/dataset/*/manifest.json"))
        for size in ALONE:
            rates(folder, dataset, size)
        too_few(folder / "few", dataset, options.limit)
        enough(folder / "many", dataset, options.limit, options.servers)


def rates(folder: Path, dataset: Path, size: int) -> None:
    """One process with a table of so many MiB."""
    environment = {**os.environ, "VISITS_BUCKETS": str(size * MIB // 4 // _visits.DIMENSION)}
    rate: dict[str, float] = {}
    for kind in ("LazyAdam", "Adam"):
        where = ["--problem", _visits.__file__, "--artifacts", str(folder / kind), "--dataset", str(dataset)]
        command = [sys.executable, __file__, "--alone", kind, *where]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-4000:])
        (said,) = re.findall(r"^epoch 2 of 2: .* ([\d,]+) steps/s", done.stdout, re.MULTILINE)
        rate[kind] = float(said.replace(",", ""))
    report(
        "table", f"steps_per_second_table_of_{size}_mib", rate["LazyAdam"], "steps/s", peer="keras Adam",
        peer_value=rate["Adam"], ratio=rate["LazyAdam"] / rate["Adam"],
    )  # fmt: skip


def alone(kind: str, *where: str) -> None:
    """Train in this process, by the trainer's optimizer or Keras' own."""
    import tf_keras as keras

    from penstock_trainer import network
    from penstock_trainer.__main__ import main as stage

    if kind == "Adam":
        network.__dict__["LazyAdam"] = keras.optimizers.legacy.Adam
    sys.exit(stage(["train", *where, "--strategy", "local", "--epochs", "2"]))


def job(folder: Path, dataset: Path, limit: int, servers: int, restarts: int) -> RunningJob:
    """A training under the limit."""
    where = ["--problem", _visits.__file__, "--artifacts", str(folder / "artifacts"), "--dataset", str(dataset)]
    return RunningJob.start(
        folder,
        ["train", *where, "--strategy", "parameter-server", "--epochs", "2"],
        {"chief": 1, "ps": servers, "worker": 1},
        wrapped={"ps": ["prlimit", f"--data={limit * MIB}", f"--stack={MIB}"]},
        restarts=restarts,
    )


def too_few(folder: Path, dataset: Path, limit: int) -> None:
    """Two servers: the job has to fail, and to say why."""
    running = job(folder, dataset, limit, 2, restarts=0)
    try:
        running.result(300)
    except AssertionError as exc:
        print(str(exc), file=sys.stderr, flush=True)
        report("table", "servers_too_few_are_refused", 1, "", met=True)
    else:
        raise SystemExit(f"2 servers of {limit} MiB held a table of {limit * TABLE:.0f} MiB: no limit was kept")


def enough(folder: Path, dataset: Path, limit: int, servers: int) -> None:
    """So many servers: it has to learn."""
    running = job(folder, dataset, limit, servers, restarts=0)
    peaks: dict[str, int] = {}
    while not running.ended():
        for role, pid in running.pids().items():
            peaks[role] = max(peaks.get(role, 0), peak(pid))
        time.sleep(0.5)
    result = running.result(5)
    print(running.output(), file=sys.stderr, flush=True)
    accuracy = result["metrics"]["test"]["accuracy"]
    report("table", "table_over_one_servers_limit", TABLE, "", goal=1, met=accuracy > 0.9)
    report("table", f"accuracy_on_{servers}_servers", accuracy, "", goal=0.9, met=accuracy > 0.9)
    held = [size for role, size in peaks.items() if role.startswith("ps")]
    report("table", "peak_memory_of_a_server", max(held), "MiB")
    report("table", "least_over_most_memory_of_servers", min(held) / max(held), "")
    report("table", "peak_memory_of_the_chief", peaks["chief-0"], "MiB")


def peak(pid: int) -> int:
    """The most memory that a process has had resident, MiB; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM")) if "VmHWM" in status else ("0 0",)
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    main()
