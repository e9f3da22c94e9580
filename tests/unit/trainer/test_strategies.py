"""The strategies beside each other, each as the processes of a real cluster."""

import json
import socket
from pathlib import Path

import pytest

from . import _species
from ._birds import write
from ._processes import read_until
from .conftest import Result, run

ROWS = 40_000  # several blocks
EPOCHS = 2
CLUSTERS = {"multiworker": {"chief": 1, "worker": 1}, "parameter-server": {"ps": 1, "worker": 2, "chief": 1}}


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
        self.command = ["-m", "penstock_trainer", "train", *flags, "--artifacts", folder, "--strategy", strategy]
        self.cluster = addresses(CLUSTERS[strategy])

    def begin(self, role, index=0):
        task = json.dumps({"cluster": self.cluster, "task": {"type": role, "index": index}})
        environment = {"TF_CONFIG": task, "PENSTOCK_RESULT": str(self.folder / f"{role}-{index}.json")}
        return self.start(*self.command, environment=environment)

    def result(self):
        return Result(**json.loads((self.folder / "chief-0.json").read_text()))


def test_one_problem_dataset_and_seed_end_in_the_same_metrics_on_one_process_in_lockstep_and_by_parameter_servers(
    tmp_path, start
):
    problem = ("--problem", Path(_species.__file__))
    raw = write(tmp_path / "birds.csv", ROWS)
    dataset = run("preprocess", *problem, "--artifacts", tmp_path, "--raw", raw, folder=tmp_path)
    flags = (*problem, "--dataset", dataset.path, "--epochs", EPOCHS)
    lockstep, servers = (Job(start, strategy, tmp_path / strategy, flags) for strategy in CLUSTERS)
    for job in (lockstep, servers):
        job.folder.mkdir()
    first = lockstep.begin("chief")
    others = [servers.begin("ps"), servers.begin("worker", 0), servers.begin("worker", 1)]
    chief = servers.begin("chief")
    alone = run("train", *flags, "--artifacts", tmp_path, folder=tmp_path)
    # The one who waits says for whom.
    read_until(first, f"chief-0 waits for worker-0 ({lockstep.cluster['worker'][0]})")
    second = lockstep.begin("worker")
    for process in (chief, first, second):
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    assert all(process.poll() is None for process in others)  # they serve until they are ended

    due = EPOCHS * dataset.counts["training"]
    for job, tolerance in ((lockstep, 1e-4), (servers, 0.01)):
        found = job.result()
        assert found.counts["examples_due"] == due <= found.counts["examples_seen"]
        for split in ("validation", "test"):
            for name in ("log_loss", "accuracy"):
                assert found.metrics[split][name] == pytest.approx(alone.metrics[split][name], abs=tolerance)
    assert alone.metrics["test"]["accuracy"] > 0.9
    steps = servers.result().metrics["training"]["steps"]
    assert set(steps) <= {"worker-0", "worker-1"}
    assert sum(steps.values()) == alone.metrics["training"]["steps"]["chief-0"]
