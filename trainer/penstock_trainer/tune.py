"""Tuning: processes that share one Optuna study; each trial cuts its features from the same statistics.

    python -m penstock_trainer tune --problem flights --dataset artifacts/dataset/<key> --trials 12 --epochs 2 \\
        --artifacts artifacts

Bucket counts and embedding sizes sit in the same search space as layers and learning rate. Start it as often as you
want processes: they share a journal file beside the artifact or, with `--storage`, a PostgreSQL database. An
interrupted study goes on where it stopped; the trial of a process that died is run again, with the same
hyperparameters.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
import tf_keras as keras

from penstock_trainer import artifacts, study_page, study_storage, threads
from penstock_trainer.clusters import Local
from penstock_trainer.dataset import Dataset
from penstock_trainer.errors import InputError
from penstock_trainer.loop import Trainer
from penstock_trainer.problem import Problem, load_problem
from penstock_trainer.progress import Epoch
from penstock_trainer.ranges import Hyperparameters
from penstock_trainer.stages import Stage, code_digest, fingerprint, is_deciding_role, write_lineage
from penstock_trainer.study import Learn, Search, Study
from penstock_trainer.study_limits import Limits

NO_NEW_TRIALS = "control/no-new-trials"
"""The file of the artifact store that ends a study with what is finished."""


def learning(problem: Problem, dataset: Dataset, epochs: int) -> Learn:
    """What a trial does: trains a network of its own on the dataset, in this process."""

    def learn(hyperparameters: Hyperparameters, seed: int) -> Iterator[Epoch]:
        keras.backend.clear_session()
        try:
            yield from Trainer(problem, dataset, Local(), hyperparameters, seed).epochs(epochs)
        except tf.errors.ResourceExhaustedError as exc:
            raise InputError(f"out of memory: {str(exc).splitlines()[0]}") from exc

    return learn


def run_stage(
    reference: str,
    dataset_path: Path,
    root: Path,
    trials: int,
    epochs: int,
    limits: Limits | None = None,
    storage: str | None = None,
) -> None:
    """Work on the study until it is finished; the chief seals it, any other process returns when no trial is left to
    run.

    `storage`: a PostgreSQL's address; None: a journal beside the artifact, for the processes of one machine.
    """
    limits = limits or Limits()
    problem = load_problem(reference)
    space = problem.search_space()
    if not space:
        raise InputError(
            f"problem {problem.name!r} has no range to tune; write IntRange, FloatRange or Choice where a value stands"
        )
    dataset = Dataset.open(dataset_path, problem)
    parameters = {"trials": trials, "epochs": epochs, "limits": limits.to_json(), "problem": fingerprint(problem)}
    stage = Stage(
        "study", root, {"dataset": dataset.manifest.digest}, parameters, code_digest("tune", problem, problem.model)
    )
    manifest = stage.finished()
    if manifest:
        if is_deciding_role():
            stage.report(manifest, reused=True)
        return
    shared = study_storage.connect(storage, stage.scratch)
    search = Search(f"{problem.name}-{stage.key}", space, problem.label.head, trials, epochs, limits)
    study = Study(search, shared, learning(problem, dataset, epochs), root / NO_NEW_TRIALS)
    threads.choose(problem, dataset.statistics, {})
    study.work()
    if not is_deciding_role():
        return
    study.wait()
    results = study.results()
    if results["stopped"]:
        print(f"{results['stopped']}; the study ends with what is finished", flush=True)
    with artifacts.building(root, stage.kind, stage.key) as directory:
        (directory / "study.json").write_text(json.dumps(results, indent=1))
        (directory / "study.html").write_text(study_page.page(problem.name, results))
        write_lineage(directory, {"dataset": dataset.manifest}, dataset_path)
        states = Counter(trial["state"].lower() for trial in results["trials"])
        best = {results["metric"]: results["best"]["value"], "trial": results["best"]["number"]}
        manifest = stage.seal(
            directory, counts=dict(states), metrics={"best": best, **results["best"]["hyperparameters"]}
        )
    stage.report(manifest, reused=False)
