"""Peak memory of preprocessing, of training input and of training, at 1, 10 and 100 times the flights.

    trainer/.venv/bin/python benchmarks/memory.py [--scale 100] [--processes 1]

Further copies of the flights have planes of their own and disturbed values (`_flights.py`), so at 100 times there are
33.7 million rows in 6 GB of CSV and about 400,000 tail numbers; it takes about 20 GB of disk and half an hour.

Preprocessing is the stage as a user runs it, in as many processes at every scale (by itself it takes more where there
is more to read). Training input reads all training blocks as training does: in random order, shuffled, featurised and
cut into batches. Training is an epoch of the trainer's loop in one process, with the evaluation after it; export
and its proof are not in it. Memory is what the run's processes have resident together, shared pages once, sampled 4
times a second, or the kernel's record of the largest process if that is more.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import _flights
from _measure import usage
from _report import report

GOAL = 1.3
STAGES: tuple[str, ...] = ("preprocess", "training_input", "training")


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=100, help="largest number of times the flights (default: 100)")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each, of which the largest counts (default: 1)")
    parser.add_argument("--processes", type=int, default=1, help="that preprocess (default: 1)")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(options.read)
        return
    if options.train:
        train(options.train)
        return
    peaks: dict[str, dict[int, float]] = {stage: {} for stage in STAGES}
    scales = sorted({1, min(10, options.scale), options.scale})
    for scale in scales:
        found = measure(scale, options.repeats, options.processes)
        for stage, peak in found.items():
            peaks[stage][scale] = peak
            report("memory", f"peak_memory_{stage}_{scale}x", peak, "MiB", repeats=options.repeats)
    growths = {stage: peak[options.scale] / peak[1] for stage, peak in peaks.items()}
    for stage, growth in [*growths.items(), ("", max(growths.values()))]:
        name = f"peak_memory_{stage}_{options.scale}x_over_1x".replace("__", "_")
        met = growth <= GOAL
        report("memory", name, growth, "", ratio=1 / growth, goal=GOAL, met=met, repeats=options.repeats)


def measure(scale: int, repeats: int, processes: int) -> dict[str, float]:
    """MiB of each stage at `scale` times the flights."""
    peaks: dict[str, float] = dict.fromkeys(STAGES, 0.0)
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        raw, artifacts = Path(name, "raw"), Path(name, "artifacts")
        _flights.write(raw, scale)
        stage = [sys.executable, "-m", "penstock_trainer", "preprocess", "--problem", "flights"]
        stage += ["--processes", str(processes)]
        for _ in range(repeats):
            shutil.rmtree(artifacts, ignore_errors=True)
            used = usage([*stage, "--raw", raw, "--artifacts", artifacts], memory=True)
            peaks["preprocess"] = max(peaks["preprocess"], used.peak_mib)
            print(f"{scale}x preprocess: {used}", file=sys.stderr, flush=True)
            (dataset,) = (path.parent for path in artifacts.glob("dataset/*/manifest.json"))
            for stage_, flag in (("training_input", "--read"), ("training", "--train")):
                used = usage([sys.executable, __file__, flag, dataset], memory=True)
                peaks[stage_] = max(peaks[stage_], used.peak_mib)
                print(f"{scale}x {stage_}: {used}", file=sys.stderr, flush=True)
    return peaks


def read(path: Path) -> None:
    """One epoch of training input of the dataset in `path`, without a network."""
    import numpy as np
    import tensorflow as tf

    from penstock_trainer import blocks
    from penstock_trainer.dataset import Dataset
    from penstock_trainer.network import Network, block_paths
    from penstock_trainer.problem import load_problem

    problem = load_problem("flights")
    dataset = Dataset.open(path, problem)
    network = Network(problem, dataset.statistics, dataset.examples, {})

    @tf.function(input_signature=[blocks.MAPPED, tf.TensorSpec([2], tf.int32)])
    def block(mapped: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features, labels = network.inputs(network.shuffled(mapped, seed))
        total = tf.constant(0.0)
        for start in tf.range(0, tf.size(labels), network.batch_size):
            batch = [values[start : start + network.batch_size] for values in features.values()]
            total += tf.add_n([tf.reduce_sum(tf.cast(values, tf.float32)) for values in batch])
        return tf.size(labels), total

    paths = block_paths(path, dataset.examples, "training")
    rows = 0
    for place in np.random.default_rng(0).permutation(len(paths)):
        done, total = block(blocks.mapped(paths[place]), tf.constant([0, place], tf.int32))
        assert np.isfinite(total.numpy())
        rows += int(done)
    assert rows == dataset.examples.rows("training")


def train(path: Path) -> None:
    """One epoch of training on the dataset in `path`, and the evaluation of its validation rows."""
    from penstock_trainer.clusters import Local
    from penstock_trainer.dataset import Dataset
    from penstock_trainer.loop import Trainer
    from penstock_trainer.problem import load_problem

    problem = load_problem("flights")
    dataset = Dataset.open(path, problem)
    (epoch,) = Trainer(problem, dataset, Local(), {}, 1).epochs(1)
    assert epoch.examples == dataset.examples.rows("training")
    assert epoch.validation["auc"] > 0.5


if __name__ == "__main__":
    main()
