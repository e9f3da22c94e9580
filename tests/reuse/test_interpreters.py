"""Every Python that the metadata promise, where this machine has it: what runs the other tests is one of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reuse.conftest import CHECKOUT, run_uv

MINORS = tuple(minor for minor in (10, 11, 12, 13) if minor != sys.version_info.minor)
PLACES = (Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions", Path("/opt/hostedtoolcache/Python"))
"""Where machines keep several: pyenv's folder, and that of GitHub's runners."""
COMPILE = """
import sys, warnings
warnings.simplefilter("error", SyntaxWarning)
for name in sys.stdin.read().split():
    with open(name, encoding="utf-8") as file:
        compile(file.read(), name, "exec")
"""
IMPORT = """
import importlib, pkgutil, sys
for root in sys.argv[1:]:
    package = importlib.import_module(root)
    for found in pkgutil.walk_packages(package.__path__, f"{root}."):
        if not found.name.rpartition(".")[2].startswith(("test_", "__main__")):
            try:
                importlib.import_module(found.name)
            except ModuleNotFoundError as exc:
                # A gigabyte, which the server does without where a model has its slim form.
                if exc.name != "tensorflow":
                    raise
"""


@pytest.fixture(scope="module", params=MINORS, ids=[f"3.{minor}" for minor in MINORS])
def python(request) -> Path:
    """An interpreter of that version which is here already."""
    name = f"python3.{request.param}"
    there = [Path(found) for found in [shutil.which(name)] if found]
    there += [each for place in PLACES for each in sorted(place.glob(f"3.{request.param}.*/**/bin/{name}"))]
    for each in there:
        if subprocess.run([each, "-c", ""], capture_output=True, check=False).returncode == 0:
            return each
    pytest.skip(f"NOT RUN: there is no {name} on this machine")


def test_every_file_is_one_that_it_reads(python):
    tracked = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    files = subprocess.run(tracked, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    there = "\n".join(name for name in files.split() if (CHECKOUT / name).exists())
    done = subprocess.run(
        [python, "-c", COMPILE], cwd=CHECKOUT, input=there, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["modules", "serving"])
def test_a_wheel_is_installed_there_with_the_lock_s_versions_and_all_of_it_is_imported(python, name, wheels, tmp_path):
    run_uv("venv", "--python", python, tmp_path / ".venv")
    own = {
        "modules": [f"{wheels['modules']}[command,gcp]"],
        "serving": [wheels["trainer"], f"{wheels['serving']}[grpc]"],
    }[name]
    lock = CHECKOUT / name / "requirements.txt"
    inside = tmp_path / ".venv/bin/python"
    run_uv("pip", "install", "--python", inside, "--constraint", lock, *own)
    root = {"modules": "penstock", "serving": "penstock_serving"}[name]
    done = subprocess.run([inside, "-I", "-c", IMPORT, root], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
