"""What `make audit` runs: a bill of materials of every runtime lock, and what vulnerabilities are known in it.

The bills are CycloneDX files in `.sbom/`. Exit code 1 where something is known; where the advisory service cannot be
reached, it says NOT RUN and exits 0, but on GitHub, from where it can, 1.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
BILLS = PROJECT / ".sbom"
LOCKS = (
    "modules/requirements.txt",
    "modules/penstock/gcp/guard_function/requirements.txt",
    "trainer/requirements.txt",
    "serving/requirements.txt",
    "serving/requirements-tensorflow.txt",
    "policies/requirements.txt",
    "notebooks/requirements-lab.txt",
)
"""What is installed to run something; what only the tests take is not in them."""


def main() -> int:
    """Exit code: 1 where a vulnerability is known, or where on GitHub nothing could be learnt."""
    locks = [PROJECT / name for name in LOCKS]
    BILLS.mkdir(exist_ok=True)
    for lock in locks:
        bill(lock)
    print(f"audit: {len(locks)} bills of materials in {BILLS.name}/")
    versions: dict[str, set[str]] = {}
    for lock in locks:
        for name, version in pins(lock):
            versions.setdefault(name, set()).add(version)
    known: list[str] = []
    unreached: list[str] = []
    # A package is asked about once a run: pip-audit takes no two versions of one.
    for turn in range(max(len(each) for each in versions.values())):
        asked = {name: sorted(each)[turn] for name, each in versions.items() if len(each) > turn}
        found, unreached = vulnerabilities(asked)
        known += found
        if unreached:
            print(f"audit: NOT RUN: known vulnerabilities of {len(unreached)} packages: {unreached[0]}")
            break
    else:
        print("audit: all packages were asked about")
    for each in known:
        print(f"audit: {each}")
    return int(bool(known) or bool(unreached and os.environ.get("GITHUB_ACTIONS")))


def pins(lock: Path) -> list[tuple[str, str]]:
    """Name and version of every package in a lock, whatever it is for."""
    return re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE)


def bill(lock: Path) -> None:
    """Writes a lock's bill of materials."""
    name = "-".join(lock.relative_to(PROJECT).with_suffix("").parts)
    target = BILLS / f"{name}.cdx.json"
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", lock, "--output-format", "JSON", "-o", target]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def vulnerabilities(asked: dict[str, str]) -> tuple[list[str], list[str]]:
    """`package version: identifiers` of what is known, and why of some packages nothing could be learnt."""
    # Whether the service answers at all is seen by one package first: hundreds of waits in vain are no answer.
    first = next(iter(asked))
    for part in ({first: asked[first]}, asked):
        found, problem = _ask(part)
        if problem:
            return [], [problem]
        skipped = [each["skip_reason"] for each in found if "skip_reason" in each]
        if len(skipped) == len(found):
            return [], skipped
    known = [each for each in found if each.get("vulns")]
    told = [f"{each['name']} {each['version']}: {' '.join(v['id'] for v in each['vulns'])}" for each in known]
    return told, skipped


def _ask(asked: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "requirements.txt"
        pinned.write_text("".join(f"{name}=={version}\n" for name, version in sorted(asked.items())))
        command = [sys.executable, "-m", "pip_audit", "--requirement", pinned, "--disable-pip", "--no-deps"]
        command += ["--format", "json", "--progress-spinner", "off"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)["dependencies"], ""
    except (ValueError, KeyError):
        return [], (done.stderr.strip().splitlines() or ["no answer"])[-1]


if __name__ == "__main__":
    sys.exit(main())
