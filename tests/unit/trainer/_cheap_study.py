"""A study whose trials learn nothing: everything but the training is the real thing.

    python _cheap_study.py FOLDER_OR_URL TRIALS SECONDS_AN_EPOCH

Prints a line when a trial begins.
"""

import sys
import time
from pathlib import Path
from typing import Any

from penstock_trainer.progress import Epoch
from penstock_trainer.ranges import Choice, FloatRange, IntRange
from penstock_trainer.study import FINISHED, Search, Study
from penstock_trainer.study_limits import Limits
from penstock_trainer.study_storage import Journal, PostgreSQL

NO_LIMITS = Limits()
SPACE = {
    "hour_bucketized.buckets": IntRange(8, 64, log=True),
    "hidden": Choice("64,32", "128,64"),
    "dropout": FloatRange(0.2, 0.5),
    "learning_rate": FloatRange(2e-4, 5e-3, log=True),
}


class CheapStudy(Study):
    """Validation AUC by the learning rate alone; `begun` has the seed and hyperparameters of the trials that began."""

    def __init__(
        self, storage: Any, trials: int, *, epochs: int = 2, seconds: float = 0.0, limits: Limits = NO_LIMITS
    ) -> None:
        super().__init__(Search("cheap", SPACE, "binary", trials, epochs, limits), storage, self.pretend)
        self.seconds, self.begun = seconds, []

    def pretend(self, hyperparameters: Any, seed: int) -> Any:
        """The epochs of one trial."""
        self.begun.append((seed, dict(hyperparameters)))
        print(f"begins {seed}", flush=True)
        for number in range(1, self.search.epochs + 1):
            time.sleep(self.seconds)
            auc = 0.5 + 10 * hyperparameters["learning_rate"]
            yield Epoch(number, 100, 10, {}, 0.5, self.seconds, {"auc": auc, "log_loss": 0.5})


if __name__ == "__main__":
    where, trials, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    storage = PostgreSQL(where, heartbeat=1, grace=3) if "://" in where else Journal(Path(where))
    study = CheapStudy(storage, trials, seconds=seconds)
    study.work()
    study.wait()
    print(f"ended with {len(study.study.get_trials(states=FINISHED))}", flush=True)
