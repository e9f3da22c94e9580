"""Where the blocks of an epoch are worked on: the five strategies behind one small interface.

`local`, `mirrored` (the accelerators of this host), `multiworker` (many hosts in lockstep) and `tpu` run a function of
a block in this process, each replica on its share of every batch, so that they take the same steps as one process.
`parameter-server` has workers run it, each on blocks of its own, with the variables on parameter servers. A block is a
unit of work: scheduled once an epoch, done again if its worker is lost.
"""

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any, Protocol

import tensorflow as tf

from penstock_trainer.blocks import MAPPED, PATH, mapped
from penstock_trainer.copies import Copies
from penstock_trainer.errors import InputError
from penstock_trainer.membership import STRATEGIES, Member
from penstock_trainer.notices import Notices

BYTES_PER_SHARD = 256 << 10
STEPS_UNSEEN = 16
"""How many steps of the others a worker beside parameter servers does not see, about. Their steps add up from the same
start, so that many make of one learning rate a multiple of it; each exchange is a few messages.
"""
SILENCE_SECONDS = 10.0
FETCH_ATTEMPTS = 20
MAPPED_AT_ONCE = 16
"""Blocks of each worker whose answers are fetched together, so that no more are held."""
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.InternalError,
)
"""What fetching from a worker that is gone, or has come back without what it had, raises."""


class Cluster(Protocol):
    """Makes variables where they belong and runs functions over blocks."""

    strategy: tf.distribute.Strategy
    width: int  # how many blocks are worked on at the same time
    leads: bool  # whether this process evaluates, writes checkpoints and seals
    steps_alone: int | None  # how many steps a block's variables are `borrowed` for; None: they need not be
    block: tf.TensorSpec  # what a function of a block takes for it, as `Network.read` does

    def variables(self) -> AbstractContextManager[Any]:
        """Networks are made in it."""
        ...

    def borrowed(self, *, changed: bool) -> AbstractContextManager[Any]:
        """The part of a function of a block that uses the network's variables, and whether it changes them."""
        ...

    def counters(self, count: int, dtype: tf.DType) -> tf.Variable:
        """A variable of so many zeros that whoever runs a function over a block may add to."""
        ...

    def each(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[str]:
        """`function` of each of `arguments`, a block's path and what else it takes, in no order of execution; returns
        when all are done: who did each.
        """
        ...

    def map(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """`function` of each of `arguments`, a block's path and what else it takes, as numpy, in order; as many at a
        time as work in parallel.
        """
        ...


class Local:
    """Everything in this process, whatever the strategy does within it."""

    width = 1
    steps_alone: int | None = None
    block = MAPPED

    def __init__(self, strategy: tf.distribute.Strategy | None = None, member: Member | None = None) -> None:
        self.strategy = strategy or tf.distribute.get_strategy()
        self.leads = member is None or member.leads
        self._name = member.name if member else "chief-0"

    def counters(self, count: int, dtype: tf.DType) -> tf.Variable:
        """In this process alone: a step's sums are the same in all."""
        return tf.Variable(tf.zeros([count], dtype), trainable=False)

    def variables(self) -> AbstractContextManager[Any]:
        """Where the strategy has them."""
        return self.strategy.scope()

    def borrowed(self, *, changed: bool) -> AbstractContextManager[Any]:  # noqa: ARG002 (the interface's)
        """They are here."""
        return nullcontext()

    def each(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[str]:
        """One after another."""
        for path, *others in arguments:
            function(mapped(path), *others)
        return [self._name] * len(arguments)

    def map(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """One after another."""
        for path, *others in arguments:
            yield tf.nest.map_structure(lambda tensor: tensor.numpy(), function(mapped(path), *others))


class ParameterServers:
    """The chief's view of a cluster of parameter servers and workers.

    Variables above `BYTES_PER_SHARD` go to the parameter servers in shards, which each step reads rows of and changes
    there; of the others each worker has copies, which it takes from them and gives back every few steps.
    """

    leads = True
    block = PATH

    def __init__(self, member: Member) -> None:
        self._member = member
        self.width = len(member.cluster["worker"])
        self.steps_alone: int | None = max(1, STEPS_UNSEEN // max(1, self.width - 1))
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        self.strategy = tf.distribute.ParameterServerStrategy(
            resolver,
            variable_partitioner=tf.distribute.experimental.partitioners.MinSizePartitioner(
                min_shard_bytes=BYTES_PER_SHARD, max_shards=len(member.cluster["ps"])
            ),
        )
        self.coordinator = tf.distribute.coordinator.ClusterCoordinator(self.strategy)
        # Never collected: as Python ends, its destructor would wait for ever for a lock that its own thread, which has
        # been stopped by then, keeps while a worker is missing.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.coordinator))
        self.copies = Copies(self.strategy, BYTES_PER_SHARD)

    def variables(self) -> AbstractContextManager[None]:
        """Small ones in this process, copied to workers; large ones on the parameter servers alone."""
        return self.copies.made()

    def borrowed(self, *, changed: bool) -> AbstractContextManager[None]:
        """The worker's copies."""
        return self.copies.borrowed(changed=changed)

    def counters(self, count: int, dtype: tf.DType) -> tf.Variable:
        """On a parameter server."""
        with self.strategy.scope():
            return tf.Variable(tf.zeros([count], dtype), trainable=False)

    def each(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[str]:
        """By whichever worker is free."""
        with self._watched():
            self.copies.put()
            done = [self._scheduled(function, each) for each in arguments]
            self.coordinator.join()
            self.copies.take()
        # The answer stays where it is (its worker may be gone by now); only its place is looked at.
        return [_worker(value) for value in done]

    def map(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """By whichever worker is free, some at a time; what a worker took with it is computed again."""
        self.copies.put()
        rest = iter(arguments)
        while some := dict(enumerate(islice(rest, MAPPED_AT_ONCE * self.width))):
            yield from self._mapped(function, some)

    def _mapped(self, function: Callable[..., Any], waiting: dict[int, tuple[Any, ...]]) -> list[Any]:
        answers: dict[int, Any] = {}
        for attempt in range(FETCH_ATTEMPTS):
            with self._watched():
                done = {place: self._scheduled(function, each) for place, each in waiting.items()}
                self.coordinator.join()
            for place, value in done.items():
                try:
                    answers[place] = value.fetch()
                    del waiting[place]
                except LOST:
                    if attempt == FETCH_ATTEMPTS - 1:
                        raise
            if not waiting:
                break
        return [answers[place] for place in sorted(answers)]

    def _scheduled(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        path, *others = arguments
        return self.coordinator.schedule(function, args=(tf.constant(path), *others))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Says who does not answer while the block takes long."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(SILENCE_SECONDS):
                if missing := self._member.unreachable(("ps", "worker")):
                    print(f"{self._member.name} waits for {', '.join(missing)}", flush=True)

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield
        finally:
            done.set()


def check(strategy: str, cluster: Mapping[str, Sequence[str]]) -> None:
    """Raise InputError, with the reason, where a strategy and a cluster's roles do not go together."""
    roles = sorted(role for role, addresses in cluster.items() if addresses)
    if strategy not in STRATEGIES:
        raise InputError(f"strategy is {strategy!r}; use one of {', '.join(STRATEGIES)}")
    if strategy == "parameter-server":
        missing = [role for role in ("chief", "ps", "worker") if role not in roles]
        if missing:
            raise InputError(
                f"strategy 'parameter-server' needs a TF_CONFIG whose cluster has chief, ps and worker; it has "
                f"{', '.join(roles) or 'none of them'}"
            )
    elif "ps" in roles:
        raise InputError(
            f"strategy {strategy!r} keeps a copy of the variables in every process, so parameter servers (TF_CONFIG's "
            "ps) would have nothing to do; use 'parameter-server', or leave them out"
        )
    elif strategy == "multiworker":
        if sum(len(cluster[role]) for role in roles) < 2 or not {*roles} <= {"chief", "worker"}:
            raise InputError(
                "strategy 'multiworker' needs a TF_CONFIG whose cluster has at least two members, a chief and workers "
                f"or workers alone; it has {', '.join(roles) or 'none'}"
            )
    elif strategy != "tpu" and roles:
        raise InputError(
            f"strategy {strategy!r} trains in one process; TF_CONFIG names a cluster of {', '.join(roles)}: use "
            "'multiworker' or 'parameter-server', or unset TF_CONFIG"
        )
    elif strategy == "tpu" and "worker" in roles:
        raise InputError(
            "strategy 'tpu' is driven by one process, which reaches all hosts of its slice itself; TF_CONFIG's workers "
            "would each start it anew: leave them out, or use 'multiworker'"
        )


def connect(strategy: str, member: Member) -> Cluster:
    """The cluster for a strategy's name; waits until all of its members answer.

    Raises:
        InputError: the strategy is unknown, does not go with the cluster, or needs hardware that is not there.
        Unreachable: a member does not answer.
    """
    check(strategy, member.cluster)
    # A member that lost another reports it instead of waiting for ever.
    os.environ["GRPC_FAIL_FAST"] = "use_caller"
    if strategy == "parameter-server":
        member.wait_for(("ps", "worker"))
        return ParameterServers(member)
    if strategy == "mirrored":
        devices = [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices("GPU")]
        logical = len(tf.config.list_logical_devices("CPU"))
        return Local(tf.distribute.MirroredStrategy(devices or [f"CPU:{index}" for index in range(logical)]))
    if strategy == "multiworker":
        # TensorFlow waits for the others with Python's lock in hand: nobody would be told, and no signal heard.
        with member.present():
            member.wait_for(("chief", "worker"))
        return Local(tf.distribute.MultiWorkerMirroredStrategy(), member)
    if strategy == "tpu":
        return Local(_tpu())
    return Local()


def serve(member: Member, notices: Notices) -> None:
    """Be a parameter server or worker that a chief drives, until ended by a signal; say who waits while it is away."""
    os.environ["GRPC_FAIL_FAST"] = "use_caller"
    # Where members share processors, threads that wait busily for the next message take them from those that work.
    config = tf.compat.v1.ConfigProto()
    config.experimental.disable_thread_spinning = True
    server = tf.distribute.Server(
        tf.train.ClusterSpec(dict(member.cluster)),
        job_name=member.role,
        task_index=member.index,
        protocol="grpc",
        config=config,
        start=True,
    )
    notices.listen()
    print(f"{member.name} listens on {server.target}; the chief is at {member.cluster['chief'][0]}", flush=True)
    while True:
        if missing := member.unreachable(("chief",)):
            print(f"{member.name} waits for {', '.join(missing)}", flush=True)
        time.sleep(SILENCE_SECONDS)  # Server.join() never returns to Python, so a signal's handler would not run


def _tpu() -> tf.distribute.Strategy:
    if "TPU_NAME" not in os.environ and not tf.config.list_physical_devices("TPU"):
        raise InputError("strategy 'tpu': this host has no TPU, and TPU_NAME names none; use 'local' or 'mirrored'")
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=os.environ.get("TPU_NAME", "local"))
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


def _worker(value: Any) -> str:
    """`worker-1`, from the device of the value it left behind."""
    device = tf.nest.flatten(value._values)[0].device
    task = tf.DeviceSpec.from_string(device)
    return f"{task.job}-{task.task}"
