"""How long a newcomer waits: a fresh clone to an answered request, a second `make up`, and what `make down` leaves.

`make bench-first-run` clones the last commit into a temporary folder and runs the README's commands there.
With a `pulumi` on PATH (or built by this checkout before) that one is used; `--build` starts with empty caches of
Penstock's own, so that Pulumi is built from source. Packages come from the package manager's cache where it has them.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from _report import report

PROJECT = Path(__file__).resolve().parent.parent
PORT = 8599


def main() -> None:
    """Print the figures of one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", action="store_true", help="build Pulumi from source")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "penstock"
        environment = dict(os.environ)
        if options.build:
            environment["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
            found = (
                subprocess.run(["uv", "cache", "dir"], capture_output=True, text=True) if shutil.which("uv") else None
            )
            uv_cache = Path(found.stdout.strip() if found else Path.home() / ".cache" / "uv")
            environment["UV_CACHE_DIR"] = str(uv_cache)
        else:
            environment["PATH"] = f"{PROJECT / '.tools' / 'pulumi' / 'bin'}:{environment['PATH']}"
        how = "built from source" if options.build else "on PATH"
        began = time.monotonic()
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
        stack = clone / "stacks" / "Pulumi.local.yaml"
        stack.write_text(stack.read_text() + f"  penstock:port: {PORT}\n")
        output = make("up", clone, environment)
        answer = ask(clone)
        report("first_run", f"clone_to_answer_pulumi_{how.replace(' ', '_')}", time.monotonic() - began, "s")
        peaks = re.findall(r"(raw|dataset|study|model) sha256:\S+ .*?\(peak memory ([\d,]+) MiB\)", output)
        for kind, mib in dict(peaks).items():
            report("first_run", f"peak_memory_{kind}", float(mib.replace(",", "")), "MiB")
        began = time.monotonic()
        make("up", clone, environment)
        report("first_run", "second_up", time.monotonic() - began, "s")
        assert ask(clone) == answer
        make("down", clone, environment)
        left = sorted(path.name for path in (clone / ".penstock" / "local").rglob("*") if path.is_dir())
        print(f"left after make down: {left}")


def make(target: str, folder: Path, environment: dict[str, str]) -> str:
    """Run `make target` and return what it printed; shows it too when it fails."""
    done = subprocess.run(
        ["make", target], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        raise SystemExit(f"make {target} failed:\n{done.stdout[-5000:]}")
    return done.stdout


def ask(clone: Path) -> list[float]:
    """The endpoint's answer to the model's sealed samples."""
    samples = next(clone.glob(".penstock/local/artifacts/models/*/samples.json"))
    body = json.dumps({"instances": json.loads(samples.read_text())["instances"]}).encode()
    url = f"http://127.0.0.1:{PORT}/v1/models/flights:predict"
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)["predictions"]


if __name__ == "__main__":
    main()
