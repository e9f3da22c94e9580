"""The strategies beside each other, each as the processes of a real cluster."""

import json
import re
import shutil
import socket
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from penstock_trainer.examples import Examples

from . import _species
from ._birds import write
from ._processes import read_until
from .conftest import Result, run

ROWS = 40_000  # several blocks
EPOCHS = 2
PROBLEM = ("--problem", Path(_species.__file__))
CLUSTERS = {
    "mirrored": {},
    "multiworker": {"chief": 1, "worker": 1},
    "parameter-server": {"ps": 1, "worker": 2, "chief": 1},
}
TWO_DEVICES = """
import sys
import tensorflow as tf
processor, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
from penstock_trainer import clusters
from penstock_trainer.__main__ import main
connect = clusters.connect
def said(*arguments):
    cluster = connect(*arguments)
    print(cluster.strategy.num_replicas_in_sync, "replicas", flush=True)
    return cluster
clusters.connect = said
sys.exit(main(sys.argv[1:]))
"""
SLOW_BLOCKS = """
import sys
import tensorflow as tf
from tensorflow.python.data.experimental.ops import testing
from penstock_trainer.__main__ import main
from penstock_trainer.network import Network
shuffled = Network.shuffled
def slowly(self, path, seed):
    late = tf.data.Dataset.from_tensors(path).apply(testing.sleep(300_000))
    return shuffled(self, tf.data.Dataset.get_single_element(late), seed)
Network.shuffled = slowly
sys.exit(main(sys.argv[1:]))
"""
"""The chief's function of a block, which runs on workers, sleeps there: none can take all blocks of an epoch."""


def addresses(replicas):
    """Ports that are free now, chosen all at once so that they differ."""
    sockets = {role: [socket.create_server(("127.0.0.1", 0)) for _ in range(n)] for role, n in replicas.items()}
    found = {role: [f"127.0.0.1:{each.getsockname()[1]}" for each in several] for role, several in sockets.items()}
    for several in sockets.values():
        for each in several:
            each.close()
    return found


class Job:
    """A training by several processes."""

    def __init__(self, start, strategy, folder, flags):
        self.start, self.folder = start, folder
        folder.mkdir()
        self.command = ["train", *flags, "--artifacts", folder, "--strategy", strategy]
        self.cluster = addresses(CLUSTERS[strategy])

    def begin(self, role, index=0, code=""):
        """A member, by the command line or by `code` that becomes it; the evaluator is no member of the cluster."""
        task = json.dumps({"cluster": self.cluster, "task": {"type": role, "index": index}})
        environment = {"PENSTOCK_ROLE": role, "PENSTOCK_RESULT": str(self.folder / f"{role}-{index}.json")}
        if role in self.cluster:
            environment["TF_CONFIG"] = task
        program = ["-c", code] if code else ["-m", "penstock_trainer"]
        return self.start(*program, *self.command, environment=environment)

    def result(self):
        return Result(**json.loads((self.folder / "chief-0.json").read_text()))


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """The dataset of many birds."""
    folder = tmp_path_factory.mktemp("birds")
    raw = write(folder / "birds.csv", ROWS)
    return run("preprocess", *PROBLEM, "--artifacts", folder, "--raw", raw, folder=folder)


def curves(folder):
    """Of each curve that a role wrote, at which steps."""
    found = defaultdict(set)
    for path in folder.glob("events*"):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found[value.tag].add(event.step)
    return found


def steps(line):
    """Steps by member, from an epoch's line."""
    return {name: int(count) for name, count in re.findall(r"(worker-\d+) (\d+)", line)}


class Page:
    """The page of a folder's curves, served by a process of its own."""

    def __init__(self, start, folder):
        (address,) = addresses({"page": 1})["page"]
        host, _, port = address.partition(":")
        command = ("curves", "--artifacts", folder, "--host", host, "--port", port)
        self.process, self.url = start("-m", "penstock_trainer", *command), f"http://{address}/data/plugin/scalars/"

    def get(self, path):
        """What it answers, or nothing as long as it does not."""
        assert self.process.poll() is None
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as response:
                return json.load(response)
        except OSError:
            return {}

    def wait_for(self, run, tag, beyond=0):
        """The last step of a run's curve, as soon as it is `beyond`."""
        deadline = time.monotonic() + 120
        while True:
            if tag in self.get("tags").get(run, {}):
                *_, (_, step, _) = self.get(f"scalars?run={run}&tag={tag}")
                if step > beyond:
                    return step
            assert time.monotonic() < deadline, self.get("tags")
            time.sleep(0.2)


@pytest.fixture(scope="module")
def alone(birds, tmp_path_factory):
    """The model that one process makes of them."""
    folder = tmp_path_factory.mktemp("alone")
    return run("train", *PROBLEM, "--dataset", birds.path, "--epochs", EPOCHS, "--artifacts", folder, folder=folder)


def test_one_problem_dataset_and_seed_end_in_the_same_metrics_on_one_process_in_lockstep_and_by_parameter_servers(
    tmp_path, start, birds, alone
):
    dataset = birds
    flags = (*PROBLEM, "--dataset", dataset.path, "--epochs", EPOCHS)
    mirrored, lockstep, servers = (Job(start, strategy, tmp_path / strategy, flags) for strategy in CLUSTERS)
    first, both = lockstep.begin("chief"), mirrored.begin("chief", code=TWO_DEVICES)
    evaluator = servers.begin("evaluator")
    read_until(evaluator, "evaluator: waits for checkpoints")  # before there is one
    others = [servers.begin("ps"), servers.begin("worker", 0), servers.begin("worker", 1)]
    chief = servers.begin("chief")
    # The one who waits says for whom.
    read_until(first, f"chief-0 waits for worker-0 ({lockstep.cluster['worker'][0]})")
    second = lockstep.begin("worker")
    said = {}
    for process in (chief, first, second, both, evaluator):
        said[process], _ = process.communicate(timeout=900)
        assert process.returncode == 0, said[process]
    assert "2 replicas" in said[both]
    assert re.search(r"evaluator: after [\d,]+ examples, validation log_loss", said[evaluator])
    assert all(process.poll() is None for process in others)  # they serve until they are ended
    read_until(others[0], f"ps-0 waits for chief-0 ({servers.cluster['chief'][0]})")

    due = EPOCHS * dataset.counts["training"]
    for job, tolerance in ((mirrored, 1e-4), (lockstep, 1e-4), (servers, 0.005)):
        found = job.result()
        assert found.counts["examples_due"] == due <= found.counts["examples_seen"]
        for split in ("validation", "test"):
            for name in ("log_loss", "accuracy"):
                assert found.metrics[split][name] == pytest.approx(alone.metrics[split][name], abs=tolerance)
    assert alone.metrics["test"]["accuracy"] > 0.9
    taken = servers.result().metrics["training"]["steps"]
    assert set(taken) <= {"worker-0", "worker-1"}
    assert sum(taken.values()) == alone.metrics["training"]["steps"]["chief-0"]

    (folder,) = (servers.folder / "curves").iterdir()
    drawn = curves(folder / "chief")
    for tag in ("training/loss", "training/examples_per_second", "validation/log_loss", "validation/accuracy"):
        assert len(drawn[tag]) >= 2, (tag, drawn)
    assert curves(folder / "evaluator").keys() == {"validation/log_loss", "validation/accuracy"}


def test_where_a_worker_in_lockstep_is_killed_all_start_again_and_end_as_if_nothing_had_been(
    tmp_path, start, birds, alone
):
    flags = (*PROBLEM, "--dataset", birds.path, "--epochs", EPOCHS)
    job = Job(start, "multiworker", tmp_path / "lockstep", flags)
    members = [job.begin("chief"), job.begin("worker")]
    deadline = time.monotonic() + 120
    while not [*job.folder.glob("models/.*.scratch/checkpoints/0*/manifest.json")]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for member in reversed(members):  # as a platform does when one is gone
        assert member.poll() is None
        member.kill()
        member.wait()
    chief, worker = [job.begin("chief"), job.begin("worker")]
    said, _ = chief.communicate(timeout=300)
    assert (chief.returncode, worker.wait(60)) == (0, 0), said
    assert "goes on from epoch 2, block " in said
    found = job.result()
    assert found.counts["resumes"] == 1
    assert found.counts["examples_due"] == EPOCHS * birds.counts["training"] <= found.counts["examples_seen"]
    for split in ("validation", "test"):
        for name in ("log_loss", "accuracy"):
            assert found.metrics[split][name] == pytest.approx(alone.metrics[split][name], abs=1e-4)


def test_a_worker_killed_in_training_is_used_again_once_it_is_back_and_a_loss_that_is_no_number_still_ends_it_all(
    tmp_path, start, birds
):
    dataset = tmp_path / Path(birds.path).name
    shutil.copytree(birds.path, dataset)
    flags = (*PROBLEM, "--dataset", dataset, "--epochs", 1000)
    job = Job(start, "parameter-server", tmp_path / "artifacts", flags)
    second = [job.begin("ps"), job.begin("worker", 0), job.begin("worker", 1)][-1]
    chief = job.begin("chief", code=SLOW_BLOCKS)
    page = Page(start, job.folder)

    def epoch(*, with_second):
        """The first epoch from now on in which the second worker took steps, or none."""
        while True:
            line = read_until(chief, " of 1000: ")
            if with_second == bool(steps(line).get("worker-1")):
                return line

    epoch(with_second=True)
    second.kill()
    alone = epoch(with_second=False)  # the training goes on
    assert steps(alone)["worker-0"] > 0
    again = job.begin("worker", 1)
    line = epoch(with_second=True)
    assert again.poll() is None
    assert steps(line)["worker-0"] > 0

    (curve,) = (f"{path.name}/chief" for path in (job.folder / "curves").iterdir())
    step = page.wait_for(curve, "training/loss")
    page.wait_for(curve, "validation/accuracy")
    page.wait_for(curve, "training/loss", beyond=step)  # it is live
    assert chief.poll() is None

    examples = Examples.read(dataset)
    block = examples.blocks["training"][0]
    cells = np.memmap(dataset / block.path, "<f4", "r+", shape=(examples.width, block.rows))
    cells[examples.numbers.index("bill"), 17] = np.inf
    cells.flush()
    output, _ = chief.communicate(timeout=900)
    assert chief.returncode == 2, output
    (message,) = [line for line in output.splitlines() if line.startswith("error: ")]
    found = re.match(r"error: epoch (\d+): the loss or its gradient is no longer a number: (.*)", message)
    assert found, message
    assert "feature bill_scaled is inf in batch " in found[2]
    assert f"of block {dataset / block.path}, row " in found[2]
    assert "there bill = inf" in found[2]
    (checkpoints,) = (job.folder / "models").glob(".*.scratch/checkpoints")
    kept = [json.loads(path.read_text())["counts"] for path in sorted(checkpoints.glob("0*/manifest.json"))]
    assert kept[-1]["epoch"] == int(found[1]) - 1
