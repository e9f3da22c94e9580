"""The bucket as GKE's pods have it: by Cloud Storage FUSE, built from its source, with the options of the stack's own
volume. The bucket is an emulator's, and each role has a mount of its own, as each pod has."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import go_programs
import pytest
import requests

from penstock.gcp import workspace
from tests.conftest import CHECKOUT, free_port


def _may_mount():
    """Whether this machine lets its user mount a file system of one's own, in a namespace of one's own."""
    if sys.platform != "linux" or os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return False
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"], check=False)
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(
    not _may_mount(), reason="NOT RUN: a mount by Cloud Storage FUSE needs Linux, root, /dev/fuse and namespaces"
)
STORE = Path("/mnt")
POD = """
"$1" --foreground --log-severity error --log-file "$2" $3 store "$4" >/dev/null 2>&1 &
until mountpoint -q "$4"; do kill -0 $! || exit 99; sleep 0.05; done
shift 4
"$@"
"""
"""Mounts the bucket and runs a command. With it all processes of the pod end, and so does the mount."""


class Pods:
    """Starts commands in namespaces of their own, in which the bucket is at STORE."""

    def __init__(self, folder: Path, emulator: str) -> None:
        self.folder = folder
        options = workspace.volume("store")["spec"]["mountOptions"]
        # Those of the pods, and where the emulator is, which cannot move an object: it is copied and deleted.
        own = [f"custom-endpoint={emulator}/storage/v1/", "anonymous-access", "enable-atomic-rename-object=false"]
        self._options = " ".join(f"--{option}" for option in [*options, *own])
        self._fuse = go_programs.program("gcsfuse")
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *command: object, **environment: str) -> "subprocess.Popen[bytes]":
        """Of a name; its output is in a file of that name."""
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", POD, "sh"]
        mount = [self._fuse, self.folder / f"{name}.fuse", self._options, STORE]
        told = {"PENSTOCK_RESULT": str(self.folder / f"{name}.json"), **environment}
        with (self.folder / f"{name}.log").open("w") as log:
            made = subprocess.Popen(
                [*own, *map(str, [*mount, *command])],
                cwd=self.folder,
                env={**os.environ, **told},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.running.append(made)
        return made

    def run(self, name: str, *command: object, **environment: str) -> dict:
        """Runs a stage to its end; its result."""
        self.ends(name, self.start(name, *command, **environment))
        return json.loads((self.folder / f"{name}.json").read_text())

    def ends(self, name: str, pod: "subprocess.Popen[bytes]") -> None:
        """It ends well, and the mount has had no error."""
        code = pod.wait(timeout=300)
        said = [(self.folder / f"{name}.{kind}").read_text() for kind in ("log", "fuse")]
        assert code == 0, "\n".join(said)
        wrong = [line for line in said[1].splitlines() if "google: could not find default credentials" not in line]
        assert not wrong, wrong
        assert "could not be written" not in said[0]

    def wait_until(self, condition: Callable[[], object], pod: "subprocess.Popen[bytes]", name: str) -> None:
        """It is so, while the pod runs."""
        deadline = time.monotonic() + 120
        while not condition():
            assert pod.poll() is None, (self.folder / f"{name}.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture
def pods(tmp_path, emulator):
    made = Pods(tmp_path, emulator)
    yield made
    for pod in made.running:
        pod.kill()
        pod.wait()


def test_the_whole_way_from_raw_files_to_an_answer_goes_through_mounts_of_the_bucket(pods, emulator):
    def trainer(stage, *arguments):
        python = CHECKOUT / "trainer/.venv/bin/python"
        return (python, "-m", "penstock_trainer", stage, "--problem", "flights", "--artifacts", STORE, *arguments)

    def kept(prefix, ending):
        """The bucket's objects that begin and end so."""
        found = requests.get(f"{emulator}/storage/v1/b/store/o?prefix={prefix}", timeout=30).json().get("items", [])
        return [each["name"] for each in found if each["name"].endswith(ending)]

    raw = pods.run("raw", *trainer("raw", "--rows", 5000))
    dataset = pods.run("preprocess", *trainer("preprocess", "--raw", raw["path"]))
    study = pods.run("tune", *trainer("tune", "--dataset", dataset["path"], "--trials", 2))
    train = trainer("train", "--dataset", dataset["path"], "--study", study["path"], "--epochs", 8)
    train += ("--strategy", "parameter-server")

    sizes = {"chief": 1, "ps": 2, "worker": 2}
    cluster = {role: [f"127.0.0.1:{free_port()}" for _ in range(size)] for role, size in sizes.items()}

    def begun(attempt):
        made = {}
        for role, addresses in cluster.items():
            for index in range(len(addresses)):
                place = json.dumps({"cluster": cluster, "task": {"type": role, "index": index}})
                own = {"PENSTOCK_ROLE": role, "PENSTOCK_INDEX": str(index), "TF_CONFIG": place}
                name = f"{role}-{index}-{attempt}"
                made[name] = pods.start(name, *train, **own)
        return made

    members = begun("first")
    watching = pods.start("evaluator", *train, PENSTOCK_ROLE="evaluator")
    pods.wait_until(lambda: kept("models/", "/manifest.json"), members["chief-0-first"], "chief-0-first")
    for member in members.values():
        member.kill()
        member.wait()
    assert not kept("models/", "/card.html"), "the training was over before it was lost"
    pods.ends("chief-0-second", begun("second")["chief-0-second"])
    pods.ends("evaluator", watching)
    model = json.loads((pods.folder / "chief-0-second.json").read_text())
    counts = model["counts"]
    assert counts["resumes"] == 1
    assert counts["examples_seen"] == counts["examples_due"] > 0
    name = Path(model["path"]).name
    assert f"models/{name}/manifest.json" in kept("models/", "")
    assert not [path for path in kept("models/", "") if path.startswith("models/.")]

    port = free_port()
    server = (CHECKOUT / "serving/.venv/bin/python", "-m", "penstock_serving", "--name", "flights")
    server += ("--model", model["path"], "--port", port)
    serving = pods.start("server", *server)
    url = f"http://127.0.0.1:{port}/v1/models/flights"
    pods.wait_until(lambda: answers(url), serving, "server")
    assert requests.get(f"{url}/attestation", timeout=30).json()["digest"] == model["digest"]


def answers(url):
    """Whether a model is served there."""
    try:
        return requests.get(f"{url}/attestation", timeout=30).ok
    except requests.ConnectionError:
        return False
