"""Tuning: processes that share one Optuna study; each trial cuts its features from the same statistics.

    python -m penstock_trainer tune --problem flights --dataset artifacts/dataset/<key> --trials 12 --epochs 2 \\
        --artifacts artifacts

Bucket counts and embedding sizes sit in the same search space as layers and learning rate. The study is a journal file
beside the artifact until it is sealed: an interrupted study goes on where it stopped.
"""

import fcntl
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import tf_keras as keras
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from penstock_trainer import artifacts, metrics
from penstock_trainer.clusters import Local
from penstock_trainer.dataset import Dataset
from penstock_trainer.errors import InputError
from penstock_trainer.loop import Trainer
from penstock_trainer.problem import Problem, load_problem
from penstock_trainer.ranges import FloatRange, IntRange, Range
from penstock_trainer.stages import Stage, code_digest, fingerprint, is_deciding_role, write_lineage

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
HOLDER = "holder"  # a trial's attribute: the file that its process holds locked for as long as it lives


class Study:
    """A study in `scratch` that any number of processes work on until it has `trials` finished trials."""

    def __init__(self, problem: Problem, dataset: Dataset, scratch: Path, holder: str, trials: int, epochs: int):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.problem, self.dataset, self.scratch = problem, dataset, scratch
        self.holder, self.trials, self.epochs = holder, trials, epochs
        self.metric, direction = metrics.objective(problem.label.head)
        with self._exclusive():
            self.study = optuna.create_study(
                study_name=problem.name,
                storage=JournalStorage(JournalFileBackend(str(scratch / "journal.log"))),
                # A trial of another process has no value yet; constant_liar keeps this one from asking the same again.
                sampler=optuna.samplers.TPESampler(
                    multivariate=True, constant_liar=True, n_startup_trials=min(5, trials)
                ),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
                direction=direction,
                load_if_exists=True,
            )

    def work(self) -> None:
        """Run trials until no more are needed: those finished, and those running in processes that are alive, are
        enough.
        """
        while (trial := self._claim()) is not None:
            self._run(trial)

    def wait(self) -> None:
        """Return when enough trials are finished; takes over the trials of processes that died."""
        while len(self.study.get_trials(deepcopy=False, states=FINISHED)) < self.trials:
            self.work()
            time.sleep(0.5)

    def results(self) -> dict[str, Any]:
        """Every trial with its parameters, value and state, and the best."""
        best = self.study.best_trial
        return {
            "metric": self.metric,
            "best": {"number": best.number, "value": best.value, "hyperparameters": best.params},
            "trials": [
                {
                    "number": t.number,
                    "state": t.state.name,
                    "value": t.value,
                    "hyperparameters": t.params,
                    "epochs": t.intermediate_values,
                }
                for t in self.study.get_trials(deepcopy=False)
            ],
        }

    def _claim(self) -> optuna.Trial | None:
        with self._exclusive():
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if not _is_held(self.scratch / trial.user_attrs.get(HOLDER, "nobody")):
                    self.study.tell(trial.number, state=TrialState.FAIL)
                    print(f"trial {trial.number + 1}: its process is gone; another takes its place", flush=True)
            under_way = self.study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.RUNNING))
            if len(under_way) >= self.trials:
                return None
            trial = self.study.ask()
            trial.set_user_attr(HOLDER, self.holder)
            return trial

    def _run(self, trial: optuna.Trial) -> None:
        hyperparameters = {name: _suggest(trial, name, range_) for name, range_ in self.problem.search_space().items()}
        keras.backend.clear_session()
        trainer = Trainer(self.problem, self.dataset, Local(), hyperparameters, seed=trial.number)
        value = None
        for epoch in trainer.epochs(self.epochs):
            value = epoch.validation[self.metric]
            trial.report(value, epoch.number)
            if epoch.number < self.epochs and trial.should_prune():
                self.study.tell(trial, state=TrialState.PRUNED)
                self._say(trial, f"{self.metric} {value:.4f} after {epoch.number} epochs, pruned")
                return
        assert value is not None
        self.study.tell(trial, value)
        self._say(trial, f"{self.metric} {value:.4f}")

    def _say(self, trial: optuna.Trial, outcome: str) -> None:
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best = f", best {self.study.best_value:.4f}" if complete else ""
        print(f"trial {trial.number + 1} of {self.trials}: {outcome}{best}", flush=True)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with (self.scratch / "claim.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def run_stage(reference: str, dataset_path: Path, root: Path, trials: int, epochs: int) -> None:
    """Work on the study until it is finished; the chief seals it, any other process returns when no trial is left to
    run.
    """
    problem = load_problem(reference)
    space = problem.search_space()
    if not space:
        raise InputError(
            f"problem {problem.name!r} has no range to tune; write IntRange, FloatRange or Choice where a value stands"
        )
    dataset = Dataset.open(dataset_path, problem)
    parameters = {"trials": trials, "epochs": epochs, "problem": fingerprint(problem)}
    stage = Stage(
        "study", root, {"dataset": dataset.manifest.digest}, parameters, code_digest("tune", problem, problem.model)
    )
    manifest = stage.finished()
    if manifest:
        if is_deciding_role():
            stage.report(manifest, reused=True)
        return
    with hold(stage.scratch) as holder:
        study = Study(problem, dataset, stage.scratch, holder, trials, epochs)
        study.work()
        if not is_deciding_role():
            return
        study.wait()
    results = study.results()
    with artifacts.building(root, stage.kind, stage.key) as directory:
        (directory / "study.json").write_text(json.dumps(results, indent=1))
        write_lineage(directory, {"dataset": dataset.manifest}, dataset_path)
        states = Counter(trial["state"].lower() for trial in results["trials"])
        best = {results["metric"]: results["best"]["value"], "trial": results["best"]["number"]}
        manifest = stage.seal(
            directory, counts=dict(states), metrics={"best": best, **results["best"]["hyperparameters"]}
        )
    stage.report(manifest, reused=False)


def _suggest(trial: optuna.Trial, name: str, range_: Range) -> Any:
    if isinstance(range_, IntRange):
        return trial.suggest_int(name, range_.low, range_.high, log=range_.log)
    if isinstance(range_, FloatRange):
        return trial.suggest_float(name, range_.low, range_.high, log=range_.log)
    return trial.suggest_categorical(name, range_.options)


@contextmanager
def hold(scratch: Path) -> Iterator[str]:
    """The name of a file in `scratch`, this process's own, that it holds locked; the system lets go however it ends."""
    scratch.mkdir(parents=True, exist_ok=True)
    name = f"holder-{uuid.uuid4().hex}"
    with (scratch / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield name


def _is_held(path: Path) -> bool:
    try:
        with path.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
