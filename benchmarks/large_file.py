"""One large CSV file: how fast it is read in pieces side by side, and with how much memory.

    trainer/.venv/bin/python benchmarks/large_file.py [--gigabytes 10] [--processes 1 2] [--prism]

The file is the flights (`_flights.py`), four different copies over and over. It is prepared as a user would, by so many
processes, one number after the other; what is on the disk at the same time is about two and a half times the file.
Memory is what all processes have resident together, shared pages once.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))

import _flights
import go_programs
from _measure import usage
from _report import report


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=10.0, help="of the file (default: 10)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="(default: 1, then 2)")
    parser.add_argument("--prism", action="store_true", help="by Beam's Prism (default: by its in-process runner)")
    options = parser.parse_args()
    runner = []
    if options.prism:
        runner = ["--runner", "prism", "--", f"--prism_location={go_programs.program('prism')}"]
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        raw, artifacts, result = Path(name, "large.csv"), Path(name, "artifacts"), Path(name, "result.json")
        write(raw, Path(name, "copies"), options.gigabytes * 1e9)
        os.environ["PENSTOCK_RESULT"] = str(result)
        for processes in options.processes:
            shutil.rmtree(artifacts, ignore_errors=True)
            stage = [sys.executable, "-m", "penstock_trainer", "preprocess", "--problem", "flights", "--raw", raw]
            began = time.monotonic()
            used = usage([*stage, "--artifacts", artifacts, "--processes", str(processes), *runner], memory=True)
            seconds, rows = time.monotonic() - began, json.loads(result.read_text())["counts"]["rows"]
            label = f"{options.gigabytes:g}_gb_{processes}_processes" + "_of_prism" * options.prism
            report("large_file", f"rows_per_second_{label}", rows / seconds, "rows/s", repeats=1)
            if not options.prism:  # whose processes no one waits for, so that the kernel does not add up their time
                report("large_file", f"rows_per_cpu_second_{label}", rows / used.cpu_seconds, "rows/CPU-s", repeats=1)
            report("large_file", f"peak_memory_{label}", used.peak_mib, "MiB", repeats=1)


def write(path: Path, scratch: Path, size: float) -> None:
    """A file of `size` bytes and whole records."""
    _flights.write(scratch, 4)
    copies = sorted(scratch.iterdir())
    with path.open("wb") as file:
        with copies[0].open("rb") as first:
            file.write(first.readline())
        while file.tell() < size:
            for copy in copies:
                with copy.open("rb") as source:
                    source.readline()
                    shutil.copyfileobj(source, file, 1 << 20)
                if file.tell() >= size:
                    break
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
