"""The pages that stages leave for people, brought here from wherever they lie."""

import shutil
import subprocess
from enum import Enum
from pathlib import Path

from penstock.command.state import State
from penstock.errors import PenstockError
from penstock.gcp.storage_api import BROWSED, Storage
from penstock.kubernetes.api import as_file

FILE = "file://"


class Page(str, Enum):
    """One of them, by the stack's output that names it."""

    DATA = "report"
    STUDY = "study_report"
    MODEL = "model_card"


def content(state: State, page: Page) -> bytes:
    """A page, as HTML.

    Raises:
        PenstockError: the stack has no such output, the file is gone, or no pod of the endpoint can read it.
    """
    place = str(state.outputs.get(page.value) or "")
    if not place:
        raise PenstockError(f"stack {state.stack} has no output {page.value}: a run that ends has")
    if place.startswith(BROWSED):
        bucket, _, name = place.removeprefix(BROWSED).partition("/")
        return Storage().content(bucket, name)
    if place.startswith(FILE):
        file = Path(place.removeprefix(FILE))
        if not file.exists():
            raise PenstockError(f"{file} is gone; `up` makes it again")
        return file.read_bytes()
    return _read_in_pod(state, place)


def _read_in_pod(state: State, path: str) -> bytes:
    """By a pod of the endpoint, which mounts the artifacts."""
    if not state.servers:
        raise PenstockError(f"stack {state.stack} has no endpoint whose pods could read {path}")
    if shutil.which("kubectl") is None:
        raise PenstockError("a page on a cluster is read by kubectl in a pod, and kubectl is not on PATH")
    name, made = next(iter(state.servers.items()))
    kubeconfig, context = state.cluster
    with as_file(kubeconfig) as file:
        command = ["kubectl", "--kubeconfig", str(file), *(["--context", context] if context else [])]
        command += ["exec", "--namespace", made["metadata"]["namespace"], f"deployment/{name}", "--", "cat", path]
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise PenstockError(f"no pod of {name} has read {path}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
