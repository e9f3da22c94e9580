"""Examples a second in training: one process, parameter servers, and what people would write instead.

    trainer/.venv/bin/python benchmarks/train.py [--repeats 5] [--epochs 4] [--only rates|arithmetic|scaling|learning]

All flights, the bundled problem with its default hyperparameters: the same model, optimizer, batches of 512 and
features, made in the graph. Each run is a chief of its own, with servers of its own where it needs any; runs alternate:

- `single`: the trainer's loop, strategy `local`;
- `parameter_servers`: the same loop on 2 parameter servers and 2 workers;
- `guide`: a loop as TensorFlow's guide to ParameterServerStrategy has it, a step a closure, on as many of both;
- `keras_fit`: `tf_keras`' own `fit`. Both peers read through `tf.data` (rows in memory, shuffled, batched, prefetched).

The first epoch warms up (the guide's loop: 50 steps); what counts are the seconds of the others, without evaluation.
Medians of the rounds; the ratio's goal is for 2 cores.

Arithmetic: the trainer's loop in one process by `--precision mixed_bfloat16`, by `--xla` and by neither, with the
bundled network and with a wide one, of two layers of `WIDE` units, for which matrices are most of the work.

Scaling: 1, 2, 4 and 8 workers with 2 parameter servers, where **reading a block sleeps** for `SLEEP_SECONDS` in
`tf.data`'s own `sleep`, which stands for steps so large that the workers' processors are the limit. It shows what the
coordination costs, not how fast 8 workers compute.

Learning: the log loss on all test rows after `--epochs`, of one process and of 2, 4 and 8 workers, which take the same
number of steps but do not see all of each other's.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import _flights
from _report import report

SLEEP_SECONDS = 3.0
BLOCKS_A_WORKER = 6
GUIDE_STEPS = 400
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_USE_LEGACY_KERAS": "1"}
PARTS = ("rates", "arithmetic", "scaling", "learning")
RATES = ("single", "parameter_servers", "guide", "keras_fit")
WIDE = 1024
NETWORKS = ("bundled", "wide")
ARITHMETIC = {"float32": {}, "mixed_bfloat16": {"precision": "mixed_bfloat16"}, "xla": {"xla": True}}
WORKERS = (1, 2, 4, 8)
GOALS = {
    "single_process_vs_keras_fit": ("single", "keras_fit", 2.0),
    "parameter_server_vs_single_process": ("parameter_servers", "single", 0.6),
    "parameter_server_vs_guide_loop": ("parameter_servers", "guide", 2.0),
}


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: 5)")
    parser.add_argument("--epochs", type=int, default=4, help="of each run; the first is not counted (default: 4)")
    parser.add_argument("--only", choices=PARTS, help="one of the parts")
    parser.add_argument("--chief", nargs=2, metavar=("KIND", "DATASET"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.chief:
        kind, dataset = options.chief
        print(json.dumps({"figure": CHIEFS[kind](Path(dataset), options.epochs)}))
        return
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        folder = Path(name)
        _flights.write(folder / "raw", 1)
        stage = [sys.executable, "-m", "penstock_trainer", "preprocess", "--problem", "flights"]
        _output([*stage, "--raw", str(folder / "raw"), "--artifacts", str(folder / "artifacts")])
        (dataset,) = (path.parent for path in (folder / "artifacts").glob("dataset/*/manifest.json"))
        parts = [options.only] if options.only else PARTS
        if "rates" in parts:
            rates(folder, dataset, options.repeats, options.epochs)
        if "arithmetic" in parts:
            arithmetic(folder, dataset, min(options.repeats, 3))
        if "scaling" in parts:
            scaling(folder, dataset, min(options.repeats, 3))
        if "learning" in parts:
            learning(folder, dataset, options.epochs)


def rates(folder: Path, dataset: Path, repeats: int, epochs: int) -> None:
    """One process, parameter servers and both peers."""
    found: dict[str, list[float]] = {kind: [] for kind in RATES}
    for round_ in range(repeats):
        for kind, values in found.items():
            servers = 2 if kind in ("parameter_servers", "guide") else 0
            values.append(measured(kind, folder, dataset, epochs, servers, servers))
        note(f"round {round_ + 1}: " + ", ".join(f"{kind} {values[-1]:,.0f}/s" for kind, values in found.items()))
    rate = {kind: statistics.median(values) for kind, values in found.items()}
    for metric, (mine, its, goal) in GOALS.items():
        ratio = rate[mine] / rate[its]
        report(
            "train", metric, rate[mine], "examples/s", peer=its, peer_value=rate[its], ratio=ratio, goal=goal,
            met=ratio >= goal, repeats=repeats,
        )  # fmt: skip


def arithmetic(folder: Path, dataset: Path, repeats: int) -> None:
    """Lower precision and XLA beside plain float32, in one process; no goal: whether they help is what is asked."""
    found: dict[str, list[float]] = {f"{network}_{kind}": [] for network in NETWORKS for kind in ARITHMETIC}
    for round_ in range(repeats):
        for kind, values in found.items():
            values.append(measured(kind, folder, dataset, 2, 0, 0))
        note(f"round {round_ + 1}: " + ", ".join(f"{kind} {values[-1]:,.0f}/s" for kind, values in found.items()))
    rate = {kind: statistics.median(values) for kind, values in found.items()}
    for network in NETWORKS:
        plain = rate[f"{network}_float32"]
        for kind in [kind for kind in ARITHMETIC if kind != "float32"]:
            mine = rate[f"{network}_{kind}"]
            report(
                "train", f"{kind}_vs_float32_{network}_network", mine, "examples/s", peer="float32 without XLA",
                peer_value=plain, ratio=mine / plain, repeats=repeats,
            )  # fmt: skip


def scaling(folder: Path, dataset: Path, repeats: int) -> None:
    """From 1 worker to 8, where a block's reading sleeps."""
    found: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    for round_ in range(repeats):
        for workers, values in found.items():
            values.append(measured("sleeping", folder, dataset, 1, 2, workers))
        note(f"round {round_ + 1}: " + ", ".join(f"{n} workers {values[-1]:,.0f}/s" for n, values in found.items()))
    rate = {workers: statistics.median(values) for workers, values in found.items()}
    for workers in WORKERS[1:]:
        linear = rate[workers] / (workers * rate[1])
        report(
            "train", f"scaling_1_to_{workers}_workers", rate[workers], "examples/s", peer="1 worker",
            peer_value=rate[1], ratio=linear, goal=0.9, met=linear >= 0.9, repeats=repeats,
        )  # fmt: skip


def learning(folder: Path, dataset: Path, epochs: int) -> None:
    """What several workers learn in as many steps as one process takes."""
    alone = measured("learning", folder, dataset, epochs, 0, 0)
    for workers in WORKERS[1:]:
        found = measured("learning", folder, dataset, epochs, 2, workers)
        report(
            "train", f"log_loss_by_{workers}_workers", found, "log loss", peer="one process", peer_value=alone,
            ratio=alone / found, repeats=1,
        )  # fmt: skip


def measured(kind: str, folder: Path, dataset: Path, epochs: int, servers: int, workers: int) -> float:
    """The figure of one run with so many parameter servers and workers: examples a second, or a log loss."""
    with ExitStack() as stack:
        environment = {}
        if servers:
            roles = {"chief": 1, "ps": servers, "worker": workers}
            environment = stack.enter_context(cluster(roles, folder, dataset))
        chief = [sys.executable, __file__, "--chief", kind, str(dataset), "--epochs", str(epochs)]
        return json.loads(_output(chief, environment).splitlines()[-1])["figure"]


@contextmanager
def cluster(roles: dict[str, int], folder: Path, dataset: Path) -> Iterator[dict[str, str]]:
    """The trainer's parameter servers and workers, ended afterwards; the environment that makes their chief."""
    with ExitStack() as held:
        found = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(sum(roles.values()))]
        addresses = iter(f"127.0.0.1:{each.getsockname()[1]}" for each in found)
        members = {role: [next(addresses) for _ in range(count)] for role, count in roles.items()}
    command = [sys.executable, "-m", "penstock_trainer", "train", "--problem", "flights", "--dataset", str(dataset)]
    command += ["--strategy", "parameter-server", "--artifacts", str(folder / "artifacts")]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for role in ("ps", "worker"):
            for index in range(roles[role]):
                task = {"TF_CONFIG": json.dumps({"cluster": members, "task": {"type": role, "index": index}})}
                log = (folder / f"{role}-{index}.log").open("wb")
                with log:
                    running.append(
                        subprocess.Popen(command, env={**os.environ, **task}, stdout=log, stderr=subprocess.STDOUT)
                    )
        yield {"TF_CONFIG": json.dumps({"cluster": members, "task": {"type": "chief", "index": 0}})}
    finally:
        for process in running:
            process.kill()
            process.wait()


def trainer_loop(dataset: Path, epochs: int, **computed: Any) -> float:
    """The trainer's own loop, alone or, by TF_CONFIG, as the chief of parameter servers."""
    trainer = _trainer(dataset, **computed)
    _, *counted = trainer.epochs(epochs)
    return sum(epoch.examples for epoch in counted) / sum(epoch.seconds for epoch in counted)


def learned(dataset: Path, epochs: int) -> float:
    """The log loss on the test rows after so many epochs."""
    trainer = _trainer(dataset)
    for _ in trainer.epochs(epochs):
        pass
    return trainer.evaluate("test")["log_loss"]


def sleeping(dataset: Path, _epochs: int) -> float:
    """Rounds of blocks whose reading sleeps; each worker has as many."""
    import numpy as np
    import tensorflow as tf
    from tensorflow.python.data.experimental.ops import testing  # pyright: ignore[reportMissingImports]

    trainer = _trainer(dataset)
    network, blocks = trainer.network, trainer.dataset.examples.blocks["training"]
    read = network.read

    def slowly(path: Any) -> Any:
        late = tf.data.Dataset.from_tensors(path).apply(testing.sleep(int(SLEEP_SECONDS * 1e6)))  # pyright: ignore[reportArgumentType]
        return read(tf.data.Dataset.get_single_element(late))

    network.read = slowly

    def work(count: int) -> list[tuple[Any, ...]]:
        places = [place % len(blocks) for place in range(count)]
        paths = [str(trainer.dataset.path / blocks[place].path) for place in places]
        return [
            (tf.constant(path), tf.constant(np.array([1, place], np.int32)), tf.constant(place))
            for path, place in zip(paths, places, strict=True)
        ]

    width = trainer.cluster.width
    trainer.cluster.each(trainer._train, work(width))
    counted = work(width * BLOCKS_A_WORKER)
    began = time.monotonic()
    for start in range(0, len(counted), width):  # a round has no more where a block takes longer than a second
        trainer.cluster.each(trainer._train, counted[start : start + width])
    return sum(blocks[int(place)].rows for _, _, place in counted) / (time.monotonic() - began)


def guide(dataset: Path, _epochs: int) -> float:
    """The loop of TensorFlow's guide: a closure is a step on the next batch of the worker's own iterator."""
    import tensorflow as tf

    trainer = _trainer(dataset, copied=False)
    network, cluster = trainer.network, trainer.cluster
    strategy, coordinator = cluster.strategy, cluster.coordinator  # pyright: ignore[reportAttributeAccessIssue]

    def dataset_fn() -> tf.data.Dataset:
        return _rows(network, dataset).repeat().batch(network.batch_size, drop_remainder=True).prefetch(8)

    @tf.function
    def step(iterator: Any) -> Any:
        losses = strategy.run(lambda cells: network.train_step(*network.inputs(cells)), args=(next(iterator),))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    iterator = iter(coordinator.create_per_worker_dataset(dataset_fn))

    def steps(count: int) -> float:
        began = time.monotonic()
        for _ in range(count):
            coordinator.schedule(step, args=(iterator,))
        coordinator.join()
        return time.monotonic() - began

    steps(50)
    return GUIDE_STEPS * network.batch_size / steps(GUIDE_STEPS)


def keras_fit(dataset: Path, epochs: int) -> float:
    """`fit` on `tf.data`, the features made in its parallel `map`."""
    import tensorflow as tf
    import tf_keras as keras

    network = _trainer(dataset, few_threads=False).network

    batches = _rows(network, dataset).batch(network.batch_size).map(network.inputs, tf.data.AUTOTUNE).prefetch(8)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    network.keras_model.compile(optimizer=network.optimizer, loss=loss)
    seconds: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 (the interface's)
            self.began = time.monotonic()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 (the interface's)
            seconds.append(time.monotonic() - self.began)

    network.keras_model.fit(batches, epochs=epochs, verbose=0, callbacks=[Clock()])
    return network.examples.rows("training") * (epochs - 1) / sum(seconds[1:])


def _trainer(
    dataset: Path, *, copied: bool = True, few_threads: bool = True, network: str = "bundled", **arithmetic: Any
) -> Any:
    from penstock_trainer import clusters, threads
    from penstock_trainer.arithmetic import Arithmetic
    from penstock_trainer.dataset import Dataset
    from penstock_trainer.loop import Trainer
    from penstock_trainer.membership import Member
    from penstock_trainer.problem import load_problem

    problem, member = load_problem("flights"), Member.of_this_process()
    opened = Dataset.open(dataset, problem)
    chosen = {"hidden": f"{WIDE},{WIDE}"} if network == "wide" else {}
    if few_threads and not member.cluster:
        threads.choose(problem, opened.statistics, chosen)
    cluster = clusters.connect("parameter-server" if member.cluster else "local", member)
    if not copied:
        cluster.copies.largest = 0  # pyright: ignore[reportAttributeAccessIssue]
    return Trainer(problem, opened, cluster, chosen, 1, Arithmetic(**arithmetic))


def _rows(network: Any, dataset: Path) -> Any:
    """The training rows' cells, [width] each, kept in memory and shuffled anew every time."""
    import tensorflow as tf

    from penstock_trainer.network import block_paths

    paths = block_paths(dataset, network.examples, "training")
    blocks = tf.data.Dataset.from_tensor_slices(paths).map(lambda path: tf.transpose(network.read(path)))
    return blocks.cache().unbatch().shuffle(20_000)


CHIEFS = {
    "single": trainer_loop, "parameter_servers": trainer_loop, "guide": guide, "keras_fit": keras_fit,
    "sleeping": sleeping, "learning": learned,
    **{
        f"{network}_{kind}": partial(trainer_loop, network=network, **computed)
        for network in NETWORKS for kind, computed in ARITHMETIC.items()
    },
}  # fmt: skip


def _output(command: list[str], environment: dict[str, str] | None = None) -> str:
    """What a command prints; ends with its errors when it fails."""
    done = subprocess.run(command, env={**os.environ, **(environment or {})}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def note(text: str) -> None:
    """Progress, for a person who watches."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
