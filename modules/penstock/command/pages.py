"""The pages that stages leave for people, brought here from wherever they lie."""

import shutil
import subprocess
from enum import Enum
from pathlib import Path

from penstock.command.pods import of_workload
from penstock.command.state import State
from penstock.errors import PenstockError
from penstock.gcp.storage_api import BROWSED, Storage
from penstock.kubernetes.api import Api, as_file
from penstock.kubernetes.verdict import is_ready

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
    names, space = ", ".join(state.servers), next(iter(state.servers.values()))["metadata"]["namespace"]
    kubeconfig, context = state.cluster
    api = Api(kubeconfig, context)
    ready = [pod for name in state.servers for pod in of_workload(api, space, name) if is_ready(pod)]
    if not ready:
        raise PenstockError(f"no pod of {names} has read {path}: none is ready")
    pod = ready[0]["metadata"]["name"]
    # Knative has another beside the server.
    server = ready[0]["spec"]["containers"][0]["name"]
    with as_file(kubeconfig) as file:
        command = ["kubectl", "--kubeconfig", str(file), *(["--context", context] if context else [])]
        command += ["exec", "--namespace", space, pod, "--container", server, "--", "cat", path]
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise PenstockError(f"no pod of {names} has read {path}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
