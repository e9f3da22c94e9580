"""A cluster of parameter servers within this process: `_shards.py DATASET FOLDER SERVERS train|restore|alone`.

Trains an epoch of the flights and keeps a checkpoint in FOLDER, or reads that checkpoint; prints as JSON the sum of
every variable of the training's state, and how many bytes are on each device.
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf

from penstock_trainer import clusters
from penstock_trainer.checkpoints import Checkpoints
from penstock_trainer.dataset import Dataset
from penstock_trainer.loop import Trainer
from penstock_trainer.membership import Member
from penstock_trainer.problem import load_problem


def cluster(servers: int) -> clusters.Cluster:
    import socket

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(servers + 2)]
    chief, worker, *ps = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    spec = {"chief": [chief], "worker": [worker], "ps": ps}
    for role in ("worker", "ps"):
        for index in range(len(spec[role])):
            tf.distribute.Server(tf.train.ClusterSpec(spec), role, index, protocol="grpc", start=True)
    os.environ["TF_CONFIG"] = json.dumps({"cluster": spec, "task": {"type": "chief", "index": 0}})
    clusters.BYTES_PER_SHARD = 1024
    return clusters.connect("parameter-server", Member.of_this_process())


def main() -> None:
    dataset, folder, servers, action = sys.argv[1:]
    problem = load_problem("flights")
    where = clusters.Local() if action == "alone" else cluster(int(servers))
    trainer = Trainer(problem, Dataset.open(Path(dataset), problem), where, {}, seed=1)
    state = trainer.network.state()
    checkpoints = Checkpoints(Path(folder), state, {"problem": "flights", "key": "k"})
    if action == "train":
        for _ in trainer.epochs(1):
            checkpoints.save(trainer.progress.counts(), trainer.progress.metrics())
    else:
        assert checkpoints.restore() is not None
    sizes: Counter[str] = Counter()
    sharded = 0
    for variable in state:
        parts = list(getattr(variable, "variables", [variable]))
        sharded += len(parts) > 1
        for part in parts:
            sizes[part.device.rpartition("/device")[0]] += int(np.prod(part.shape)) * part.dtype.size
    sums = [
        float(sum(np.float64(part.numpy()).sum() for part in getattr(variable, "variables", [variable])))
        for variable in state
    ]
    print(json.dumps({"sums": sums, "bytes": sizes, "sharded": sharded}), flush=True)
    os._exit(0)  # the servers within have no end


if __name__ == "__main__":
    main()
