"""The evaluator: evaluates every checkpoint beside the training, which never waits for it.

It is no member of the cluster (inside, it would hang the coordinator): it reads the checkpoints' files, and ends when
the model is sealed.

    PENSTOCK_ROLE=evaluator python -m penstock_trainer train --problem flights ...    (as for the chief)
"""

import time

import tensorflow as tf

from penstock_trainer.clusters import Local
from penstock_trainer.curves import Curves
from penstock_trainer.loop import Trainer
from penstock_trainer.membership import EVALUATOR
from penstock_trainer.progress import Progress
from penstock_trainer.train import SEED, Order

LOOK_SECONDS = 0.5


def run_stage(order: Order) -> None:
    """Evaluate the validation rows by each new checkpoint until the model of the same training is sealed."""
    trainer = Trainer(order.problem, order.dataset, Local(), order.hyperparameters, SEED)
    checkpoints = order.checkpoints(trainer.network.model_state())
    curves = Curves(order.stage.root, order.stage.key, EVALUATOR)
    last = ""
    print(f"evaluator: waits for checkpoints in {checkpoints.folder}", flush=True)
    while not (order.stage.path / "manifest.json").exists():
        if checkpoints.newest_name() == last:
            time.sleep(LOOK_SECONDS)
            continue
        try:
            manifest = checkpoints.restore()
        except (OSError, tf.errors.OpError):
            continue  # its place has been given to a newer one meanwhile
        last = checkpoints.newest_name()
        if manifest is None:
            continue
        progress = Progress.of(manifest.counts, manifest.metrics)
        found = trainer.evaluate("validation")
        curves.evaluated(progress, found)
        scores = ", ".join(f"{name} {value:.4f}" for name, value in found.items() if name != "base_rate")
        print(f"evaluator: after {progress.trained:,} examples, validation {scores}", flush=True)
