"""The peers' own environment, `benchmarks/peers/.venv`, made from its lock file when it is missing or out of date."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "peers"
LOCK = FOLDER / "requirements.txt"
VENV = FOLDER / ".venv"

sys.path.append(str(FOLDER.parent.parent / "tools"))

import uv  # noqa: E402
from common import digest, run, say  # noqa: E402


def python(lock: Path = LOCK, venv: Path = VENV) -> Path:
    """The Python 3.11 of the environment of a lock; for it alone tfx-bsl has wheels."""
    stamp, state = venv / "penstock.txt", digest(lock, str(venv))
    if not stamp.exists() or stamp.read_text() != state:
        say("preparing the peers' environment (up to 4 min the first time)")
        tool = uv.find()
        run([tool, "venv", "--quiet", "--clear", "--python", "3.11", venv], "making the peers' environment")
        # Compiled once, else start-up would be mostly that wherever Python may not keep what it compiles.
        run(
            [tool, "pip", "sync", "--quiet", "--compile-bytecode", "--python", venv / "bin" / "python", lock],
            "filling it",
        )
        stamp.write_text(state)
    return venv / "bin" / "python"


if __name__ == "__main__":
    if sys.argv[1:] == ["lock"]:
        compile_ = [uv.find(), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
        compile_ += ["--generate-hashes", "--no-header", "pyproject.toml", "-o", "requirements.txt"]
        run(compile_, "locking the peers", cwd=FOLDER)
    print(python())
