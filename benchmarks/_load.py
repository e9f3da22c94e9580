"""Load from compiled generators that post distinct bodies: wrk in a closed loop, oha at a fixed rate."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS, BUSY_CONNECTIONS = 32, 256
"""In the closed loop, and at most at a fixed rate."""
OHA = "1.14.0"
SCRIPT = """
local bodies, next = {}, 0
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
wrk.headers["Content-Type"] = "application/json"
request = function() next = next % #bodies + 1 return wrk.format("POST", nil, nil, bodies[next]) end
"""
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Load:
    """What one run of a generator saw: requests answered and failed, requests/s, latencies in seconds."""

    requests: int
    failed: int
    rate: float
    p50: float
    p99: float


class Target:
    """A URL and the bodies that are posted to it."""

    def __init__(self, url: str, bodies: Sequence[bytes]) -> None:
        self.url, self.bodies = url, bodies
        self._kept = tempfile.TemporaryDirectory()  # goes with this object
        self._folder = Path(self._kept.name)
        (self._folder / "bodies").write_bytes(b"\n".join(bodies) + b"\n")
        (self._folder / "post.lua").write_text(SCRIPT)

    def closed_loop(self, seconds: int, core: int | None = None) -> Load:
        """Each connection posts its next request when it has the answer to the last; by a generator on that core."""
        command = [*_on(core), _wrk(), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--latency", "--timeout", "30s"]
        done = subprocess.run(
            [*command, "-s", self._folder / "post.lua", self.url],
            env={**os.environ, "BODIES": str(self._folder / "bodies")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        failed = sum(int(count) for count in re.findall(r"Non-2xx or 3xx responses: (\d+)", done))
        failed += sum(int(n) for line in re.findall(r"Socket errors:(.*)", done) for n in re.findall(r"\d+", line))
        requests = int(_find(r"(\d+) requests in", done))
        rate = float(_find(r"Requests/sec:\s+([\d.]+)", done))
        return Load(requests, failed, rate, _latency("50", done), _latency("99", done))

    def fixed_rate(self, rate: int, seconds: int, core: int | None = None) -> Load:
        """Requests leave at their time, whether or not the ones before are answered: nothing is omitted.

        One that finds every connection busy waits for one, and its latency counts from before that.
        """
        command = [*_on(core), _oha(), "--no-tui", "--output-format=json", f"-z{seconds}s", "--latency-correction"]
        command += ["-w", f"-q{rate}", f"-c{BUSY_CONNECTIONS}", "-t30s", "-mPOST", "-Tapplication/json"]
        command += ["-Z", self._folder / "bodies", self.url]
        found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        answered = int(found["statusCodeDistribution"].get("200", 0))
        failed = sum(found["statusCodeDistribution"].values()) + sum(found["errorDistribution"].values()) - answered
        latencies = found["latencyPercentiles"]
        return Load(answered, failed, answered / found["summary"]["total"], latencies["p50"], latencies["p99"])


def _on(core: int | None) -> list[str]:
    """What has a command run on one core; nothing where it may run on any."""
    return [] if core is None else ["taskset", "-c", str(core)]


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if not found:
        raise SystemExit(f"wrk's output has no {pattern!r}:\n{text}")
    return found.group(1)


def _latency(quantile: str, text: str) -> float:
    number, unit = re.findall(rf" {quantile}%\s+([\d.]+)(us|ms|s|m)", text)[0]
    return float(number) * SECONDS[unit]


def _wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("wrk is missing: install your system's package `wrk` (Debian: apt-get install wrk)")
    return found


def _oha() -> Path:
    """Built from its crate once, into the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock" / f"oha-{OHA}"
    if not (cache / "bin/oha").exists():
        if shutil.which("cargo") is None:
            raise SystemExit("cargo is missing, by which oha is built: install Rust 1.88 or later")
        subprocess.run(["cargo", "install", f"oha@{OHA}", "--locked", "--root", cache], check=True)
    return cache / "bin/oha"
