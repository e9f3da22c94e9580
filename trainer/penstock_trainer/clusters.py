"""Where the blocks of an epoch are worked on: in this process, or by workers with the variables on parameter servers.

Both take the same functions of a block and hand back what each returned. A block is a unit of work: scheduled once an
epoch, done again if its worker is lost.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import tensorflow as tf

from penstock_trainer.errors import InputError

BYTES_PER_SHARD = 256 << 10


class Cluster(Protocol):
    """Makes variables where they belong and runs functions over blocks."""

    strategy: tf.distribute.Strategy  # networks are made in its scope

    def map(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        """`function` of each of `arguments`, in no order of execution; returns when all are done, as numpy, in
        order.
        """
        ...


class Local:
    """Everything in this process."""

    def __init__(self) -> None:
        self.strategy = tf.distribute.get_strategy()

    def map(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        """One after another."""
        return [tf.nest.map_structure(lambda tensor: tensor.numpy(), function(*each)) for each in arguments]


class ParameterServers:
    """The chief's view of a cluster of parameter servers and workers, named by TF_CONFIG.

    Variables go to the parameter servers, round robin; those above `BYTES_PER_SHARD` in shards.
    """

    def __init__(self) -> None:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        self.strategy = tf.distribute.ParameterServerStrategy(
            resolver,
            variable_partitioner=tf.distribute.experimental.partitioners.MinSizePartitioner(
                min_shard_bytes=BYTES_PER_SHARD, max_shards=resolver.cluster_spec().num_tasks("ps")
            ),
        )
        self.coordinator = tf.distribute.coordinator.ClusterCoordinator(self.strategy)

    def map(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        """By whichever worker is free."""
        pending = [self.coordinator.schedule(function, args=each) for each in arguments]
        self.coordinator.join()
        return [self.coordinator.fetch(value) for value in pending]


def connect(strategy: str) -> Cluster:
    """The cluster for a strategy's name; with parameter servers, waits until all of TF_CONFIG's addresses answer.

    Raises:
        InputError: the strategy is unknown, or TF_CONFIG names no cluster that fits it.
    """
    if strategy == "local":
        return Local()
    if strategy != "parameter-server":
        raise InputError(f"strategy is {strategy!r}; use 'local' or 'parameter-server'")
    cluster = _tf_config().get("cluster", {})
    for role in ("chief", "ps", "worker"):
        if not cluster.get(role):
            raise InputError(
                f"strategy 'parameter-server' needs a TF_CONFIG whose cluster has a {role}; it has {sorted(cluster)}"
            )
    print(f"waiting for {len(cluster['ps'])} parameter servers and {len(cluster['worker'])} workers", flush=True)
    return ParameterServers()


def serve_if_server() -> None:
    """A parameter server or worker serves here until it is ended by a signal; any other role returns at once."""
    role = _tf_config().get("task", {}).get("type")
    if role not in ("ps", "worker"):
        return
    # A worker that lost its parameter server reports it instead of waiting for ever.
    os.environ["GRPC_FAIL_FAST"] = "use_caller"
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    server = tf.distribute.Server(
        resolver.cluster_spec(), job_name=resolver.task_type, task_index=resolver.task_id, protocol="grpc", start=True
    )
    print(f"{role} {resolver.task_id} listens on {server.target}", flush=True)
    # Server.join() never returns to Python, so a signal's handler would not run.
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    while not ended.wait(1):
        pass
    sys.stdout.flush()
    os._exit(0)  # the server has no stop; its threads would keep the process


def _tf_config() -> dict[str, Any]:
    text = os.environ.get("TF_CONFIG", "{}")
    try:
        return json.loads(text)
    except json.JSONDecodeError as exc:
        raise InputError(f"TF_CONFIG is not JSON: {exc}: {text[:200]}") from exc
