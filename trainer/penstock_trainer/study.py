"""A study that several processes share: who runs which trial, when one is given up, and when all is done.

No TensorFlow here: what a trial learns comes from the function it is given.
"""

import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from penstock_trainer import metrics
from penstock_trainer.artifacts import digest_of
from penstock_trainer.errors import InputError
from penstock_trainer.progress import Epoch
from penstock_trainer.ranges import FloatRange, Hyperparameters, IntRange, Range
from penstock_trainer.study_limits import SECONDS, STARTED, Limits, elapsed_seconds, worked_seconds
from penstock_trainer.study_storage import HOLDER, StudyStorage

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
ATTEMPTS = 3  # a trial that was under way when so many processes died is not tried again: it may be the reason
# Attributes of a trial, besides those of its storage and of the limits.
RETRY_OF, EPOCHS, ENDED_BY = "retry_of", "epochs", "ended_by"

Learn: TypeAlias = Callable[[Hyperparameters, int], Iterator[Epoch]]
"""From hyperparameters and a seed to the epochs as they end; InputError where the hyperparameters are at fault."""


@dataclass(frozen=True)
class Search:
    """What is searched: `space` by the metric of `head`, in `trials` trials of `epochs` epochs within `limits`.

    Processes that say the same `name` work on one study.
    """

    name: str
    space: Mapping[str, Range]
    head: str
    trials: int
    epochs: int
    limits: Limits


class Study:
    """A study that any number of processes work on until it has `trials` finished trials or a limit is reached.

    While the file `closed` is there, which a budget's guard writes, no trial begins; those that run end.
    """

    def __init__(self, search: Search, storage: StudyStorage, learn: Learn, closed: Path | None = None):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.search, self.storage, self.learn, self.closed = search, storage, learn, closed
        self.metric, direction = metrics.objective(search.head)
        self.seed = int(digest_of(search.name)[7:14], 16)
        with storage.exclusive():
            self.study = optuna.create_study(
                study_name=search.name,
                storage=storage.trials,
                pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
                direction=direction,
                load_if_exists=True,
            )

    def work(self) -> None:
        """Run trials until no more are needed: those finished, and those running in processes that are alive, are
        enough, or a limit is reached.
        """
        while (trial := self._claim()) is not None:
            try:
                self._run(trial)
            finally:
                self.storage.let_go()

    def wait(self) -> None:
        """Return when enough trials are finished or a limit is reached and no trial is under way; takes over the trials
        of processes that died.
        """
        while True:
            self.work()
            states = Counter(trial.state for trial in self.study.get_trials(deepcopy=False))
            enough = sum(states[state] for state in FINISHED) >= self.search.trials
            if not states[TrialState.RUNNING] and (enough or self.ended()):
                return
            time.sleep(0.5)

    def ended(self) -> str | None:
        """Why no further trial begins although there are not enough, in words, or None."""
        if self.closed is not None and self.closed.exists():
            return f"no new trials: {self.closed} is there"
        return self.limit_reached()

    def limit_reached(self) -> str | None:
        """Which limit is reached, in words, or None."""
        return self.search.limits.reached(self.study.get_trials(deepcopy=False), time.time())

    def results(self) -> dict[str, Any]:
        """Every trial with its parameters, values and times, the best of them, and which parameters mattered.

        Raises:
            InputError: no trial was finished.
        """
        trials, now = self.study.get_trials(deepcopy=False), time.time()
        complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        stopped = self.ended() if sum(t.state in FINISHED for t in trials) < self.search.trials else None
        if not complete:
            reasons = [stopped] if stopped else [t.user_attrs[ENDED_BY] for t in trials if ENDED_BY in t.user_attrs]
            raise InputError(f"no trial of {len(trials)} was finished: {reasons[0] if reasons else 'all were pruned'}")
        best = self.study.best_trial
        return {
            "metric": self.metric,
            "direction": self.study.direction.name.lower(),
            "best": {"number": best.number, "value": best.value, "hyperparameters": best.params},
            "importance": optuna.importance.get_param_importances(self.study) if len(complete) > 1 else {},
            "wanted": self.search.trials,
            "stopped": stopped,
            "limits": self.search.limits.to_json(),
            "seconds": elapsed_seconds(trials, now),
            "process_seconds": sum(worked_seconds(trial, now) for trial in trials),
            "usd": self.search.limits.cost(trials, now),
            "trials": [_to_json(trial) for trial in trials],
        }

    def _claim(self) -> optuna.Trial | None:
        with self.storage.exclusive():
            self.storage.fail_dead(self.study)
            trials = self.study.get_trials(deepcopy=False)
            under_way = sum(trial.state in (*FINISHED, TrialState.RUNNING) for trial in trials)
            if under_way >= self.search.trials or self.ended():
                return None
            lost = _to_retry(trials)
            if lost is not None:
                first = lost.user_attrs.get(RETRY_OF, lost.number)
                self.study.enqueue_trial(lost.params, user_attrs={RETRY_OF: first})
                print(f"trial {first + 1}: its process is gone; another takes its place", flush=True)
            # A process that starts draws other numbers than the others, and in one process a study repeats itself.
            # A trial that is under way has no value yet; constant_liar keeps this one from asking the same again.
            self.study.sampler = optuna.samplers.TPESampler(
                multivariate=True,
                constant_liar=True,
                n_startup_trials=min(5, self.search.trials),
                seed=self.seed + len(trials),
            )
            with warnings.catch_warnings():
                # A storage that wants heartbeats gets them from `take` on.
                warnings.filterwarnings("ignore", "Heartbeat of storage")
                trial = self.study.ask()
            self.storage.take(trial)
            trial.set_user_attr(STARTED, time.time())
            return trial

    def _run(self, trial: optuna.Trial) -> None:
        began = time.monotonic()
        try:
            self._train(trial, began)
        except UpdateFinishedTrialError:
            print(f"trial {trial.number + 1}: this process was silent for too long; another took its place", flush=True)
        except InputError as exc:
            # Its hyperparameters are at fault. Pruned without a value is what the sampler takes for the worst.
            reason = str(exc).splitlines()[0]
            self._end(trial, TrialState.PRUNED, began, reason)
            self._say(f"given up: {reason}")
        except BaseException:
            # Another process takes it over at once. Where the storage is out of reach, silence says the same, later.
            self._end(trial, TrialState.FAIL, began)
            raise

    def _train(self, trial: optuna.Trial, began: float) -> None:
        hyperparameters = {name: _suggest(trial, name, range_) for name, range_ in self.search.space.items()}
        done: list[dict[str, Any]] = []
        for epoch in self.learn(hyperparameters, trial.user_attrs.get(RETRY_OF, trial.number)):
            value = epoch.validation[self.metric]
            if not math.isfinite(value):
                raise InputError(f"epoch {epoch.number}: validation {self.metric} is {value}")
            done.append(asdict(epoch))
            trial.set_user_attr(EPOCHS, done)
            trial.set_user_attr(SECONDS, time.monotonic() - began)
            trial.report(value, epoch.number)
            if epoch.number == self.search.epochs:
                self.study.tell(trial, value, skip_if_finished=True)
                self._say(f"{self.metric} {value:.4f}")
            elif trial.should_prune():
                self._end(trial, TrialState.PRUNED, began)
                self._say(f"{self.metric} {value:.4f} after {epoch.number} epochs, pruned")
                return
            elif limit := self.limit_reached():
                self._end(trial, TrialState.PRUNED, began, limit)
                self._say(f"{self.metric} {value:.4f} after {epoch.number} epochs, stopped: {limit}")
                return

    def _end(self, trial: optuna.Trial, state: TrialState, began: float, reason: str | None = None) -> None:
        trial.set_user_attr(SECONDS, time.monotonic() - began)
        if reason:
            trial.set_user_attr(ENDED_BY, reason)
        self.study.tell(trial, state=state, skip_if_finished=True)

    def _say(self, outcome: str) -> None:
        finished = self.study.get_trials(deepcopy=False, states=FINISHED)
        complete = any(trial.state == TrialState.COMPLETE for trial in finished)
        best = f", best {self.study.best_value:.4f}" if complete else ""
        print(f"trial {len(finished)} of {self.search.trials}: {outcome}{best}", flush=True)


def _to_retry(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The first failed trial that waits for another attempt: its process died, and it has had fewer than `ATTEMPTS`."""
    attempts: dict[int, list[FrozenTrial]] = {}
    for trial in trials:
        attempts.setdefault(trial.user_attrs.get(RETRY_OF, trial.number), []).append(trial)
    for made in attempts.values():
        if len(made) < ATTEMPTS and all(trial.state == TrialState.FAIL for trial in made):
            return made[-1]
    return None


def _to_json(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as the artifact keeps it; `epochs` has every epoch's examples, loss, seconds and validation metrics."""
    kept = {name: trial.user_attrs[name] for name in (RETRY_OF, ENDED_BY, STARTED, HOLDER) if name in trial.user_attrs}
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.value,
        "hyperparameters": trial.params,
        "seconds": trial.user_attrs.get(SECONDS, 0.0),
        "epochs": trial.user_attrs.get(EPOCHS, []),
        **kept,
    }


def _suggest(trial: optuna.Trial, name: str, range_: Range) -> Any:
    if isinstance(range_, IntRange):
        return trial.suggest_int(name, range_.low, range_.high, log=range_.log)
    if isinstance(range_, FloatRange):
        return trial.suggest_float(name, range_.low, range_.high, log=range_.log)
    return trial.suggest_categorical(name, range_.options)
