"""Comparison: a candidate takes the place of the model that serves only where it is better on the same rows.

    python -m penstock_trainer compare --problem flights --dataset artifacts/dataset/<key> \\
        --candidate artifacts/models/<key> --artifacts artifacts

Both answer every test row of the candidate's dataset from its raw columns, as clients send them. Which model serves is
written down in `ROOT/serving/<problem>.json`, the decision with its numbers in `ROOT/decisions/<key>/decision.json`.
Rows that the serving model was trained on, where the dataset has such, speak for it and never for the candidate.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from penstock_trainer import artifacts, metrics
from penstock_trainer.artifacts import Manifest
from penstock_trainer.dataset import Dataset
from penstock_trainer.errors import InputError
from penstock_trainer.evaluation import tally
from penstock_trainer.examples import read_block
from penstock_trainer.export import RawColumns
from penstock_trainer.problem import Problem, load_problem
from penstock_trainer.stages import Stage, code_digest, write_lineage
from penstock_trainer.statistics import NumberStatistics

GROUPS = 20
"""Of rows, by whose differences it is told how sure the gain is."""


@dataclass(frozen=True)
class Serving:
    """The model that a problem's endpoint serves: its folder below the root of all artifacts, and its digest."""

    path: str
    digest: str

    @staticmethod
    def file(root: Path, problem: str) -> Path:
        """Where it is written down."""
        return root / "serving" / f"{problem}.json"

    @classmethod
    def read(cls, root: Path, problem: str) -> "Serving | None":
        """None where nothing serves yet."""
        file = cls.file(root, problem)
        return cls(**json.loads(file.read_text())) if file.exists() else None

    def write(self, root: Path, problem: str) -> None:
        """Write it down, whole or not at all."""
        file = self.file(root, problem)
        file.parent.mkdir(parents=True, exist_ok=True)
        artifacts.write_atomically(file, json.dumps(asdict(self)).encode())


def run_stage(reference: str, dataset_path: Path, candidate: Path, root: Path, minimum_gain: float) -> None:
    """Decide which model serves from now on, seal the decision, and leave that model as the stage's result.

    `minimum_gain`: the candidate is taken where its metric is better by more than this.

    Raises:
        InputError: a seal does not hold, the candidate was not trained on this dataset, or the serving model cannot
        answer its rows.
    """
    problem = load_problem(reference)
    dataset = Dataset.open(dataset_path, problem)
    chain = artifacts.verify_lineage(candidate)
    if "model" not in chain or chain["model"].inputs.get("dataset") != dataset.manifest.digest:
        raise InputError(f"{candidate} is no model that was trained on {dataset_path}")
    model, before = chain["model"], Serving.read(root, problem.name)
    parameters = {"serving": before.digest if before else None, "minimum_gain": minimum_gain}
    stage = Stage("decision", root, {"model": model.digest}, parameters, code_digest("compare", problem, problem.model))
    manifest = stage.finished()
    reused = manifest is not None
    if manifest is None:
        with artifacts.building(root, stage.kind, stage.key) as directory:
            decision = decide(problem, dataset, candidate, model, root / before.path if before else None, minimum_gain)
            (directory / "decision.json").write_text(json.dumps(decision, indent=1))
            write_lineage(directory, {"model": model}, candidate)
            manifest = stage.seal(directory, counts={"rows": decision["rows"]}, metrics={"decision": decision})
    print(manifest.metrics["decision"]["reason"], flush=True)
    after = before
    if before is None or manifest.metrics["decision"]["promoted"]:
        after = Serving(str(candidate.resolve().relative_to(root.resolve())), model.digest)
        after.write(root, problem.name)
    assert after is not None
    stage.report(manifest, reused=reused, left=(root / after.path, after.digest))


def decide(
    problem: Problem, dataset: Dataset, candidate: Path, model: Manifest, serving: Path | None, minimum_gain: float
) -> dict[str, Any]:
    """Whether the candidate is `promoted`, the `reason` in words, and the numbers behind it."""
    name, direction = metrics.objective(problem.label.head)
    told: dict[str, Any] = {
        "metric": name,
        "direction": direction,
        "minimum_gain": minimum_gain,
        "rows": 0,
        "candidate": {"digest": model.digest},
    }
    if serving is None:
        return {**told, "promoted": True, "reason": "nothing serves yet: the candidate does from now on"}
    try:
        there = artifacts.verify(serving)
    except InputError as exc:
        return {**told, "promoted": True, "reason": f"the model that served is not to be had ({exc}): the candidate is"}
    if there.digest == model.digest:
        return {**told, "promoted": True, "reason": "the candidate serves already"}
    answers = answered(problem, dataset, {"candidate": candidate, "serving": serving})
    gain, error = answers.gain(name, direction)
    promoted = gain > minimum_gain
    found = {which: answers.metrics(which) for which in ("candidate", "serving")}
    verdict = "takes over" if promoted else f"is not better by more than {minimum_gain:g}, the other goes on"
    reason = (
        f"{name} of the candidate {found['candidate'][name]:.4f}, of the serving model {found['serving'][name]:.4f}, "
        f"on the same {answers.rows:,} rows (gain {gain:+.4f}, standard error {error:.4f}): the candidate {verdict}"
    )
    return {
        **told,
        "promoted": promoted,
        "reason": reason,
        "rows": answers.rows,
        "gain": gain,
        "gain_standard_error": error,
        "candidate": {"digest": model.digest, "metrics": found["candidate"]},
        "serving": {"digest": there.digest, "metrics": found["serving"]},
    }


class Answers:
    """What several models answered to the same rows, added up as they come: however many there are, none is kept.

    An area under the curve is that of a `tallies.Ranking`.
    """

    def __init__(self, problem: Problem, label: NumberStatistics, models: Iterable[str]):
        self.problem, self.names = problem.name, metrics.NAMES[problem.label.head]
        self.rows = 0
        self._every = {which: tally(problem, label, whole=True) for which in models}
        self._groups = {which: [tally(problem, label) for _ in range(GROUPS)] for which in self._every}

    def add(self, labels: np.ndarray, predictions: Mapping[str, np.ndarray]) -> None:
        """Take some more rows, by model; every group gets the next row in turn.

        Raises:
            InputError: a model's answer is no number.
        """
        for which, found in predictions.items():
            if not np.isfinite(found).all():
                raise InputError(
                    f"the {which} model's answer to a row is no number: they cannot be compared; remove "
                    f"serving/{self.problem}.json to begin anew"
                )
            self._every[which].add(labels, found)
            for place, group in enumerate(self._groups[which]):
                rows = slice((place - self.rows) % GROUPS, None, GROUPS)
                group.add(labels[rows], found[rows])
        self.rows += len(labels)

    def metrics(self, which: str) -> dict[str, float]:
        """The metrics of one model on all rows."""
        found = self._every[which].metrics()
        return {name: float(found[name]) for name in self.names}

    def gain(self, name: str, direction: str) -> tuple[float, float]:
        """By how much the candidate's metric is better, and the standard error of that."""
        sign = 1 if direction == "maximize" else -1
        pairs = zip(self._groups["candidate"], self._groups["serving"], strict=True)
        groups = [sign * (ours.metrics()[name] - theirs.metrics()[name]) for ours, theirs in pairs if ours.rows]
        error = float(np.std(groups, ddof=1) / np.sqrt(len(groups))) if len(groups) > 1 else 0.0
        return sign * (self.metrics("candidate")[name] - self.metrics("serving")[name]), error


def answered(problem: Problem, dataset: Dataset, models: Mapping[str, Path]) -> Answers:
    """The answers of `models` to every test row of a dataset, from its raw columns.

    Raises:
        InputError: a model cannot answer these rows.
    """
    source = RawColumns(problem, dataset)  # of the test rows
    declared = {name: column.type for name, column in source.columns.items()}
    schemas = {which: _schema(path, problem, declared) for which, path in models.items()}
    # The modules are kept: their tables and variables would go with them.
    modules = {which: tf.saved_model.load(str(path / "saved_model")) for which, path in models.items()}
    label = dataset.statistics[problem.label.name]
    assert isinstance(label, NumberStatistics)
    answers = Answers(problem, label, models)
    for block in dataset.examples.blocks["test"]:
        path = dataset.path / block.path
        raw = {name: tf.constant(values) for name, values in source.read(path).items()}
        found: dict[str, np.ndarray] = {}
        for which, columns in schemas.items():
            taken = {name: raw[name] for name in columns}
            found[which] = modules[which].signatures["serving_default"](**taken)["predictions"].numpy()
        answers.add(read_block(path, dataset.examples)[2], found)
    return answers


def _schema(model: Path, problem: Problem, declared: Mapping[str, str]) -> list[str]:
    """The columns that a model reads; raises InputError where these rows cannot be answered by it."""
    schema: dict[str, Any] = json.loads((model / "schema.json").read_text())
    ours = (problem.label.head, problem.label.name, list(problem.label.classes))
    if (schema["head"], schema["label"], schema["classes"]) != ours:
        raise InputError(
            f"{model} predicts {schema['label']!r} ({schema['head']}), problem {problem.name!r} {problem.label.name!r} "
            f"({problem.label.head}): they cannot be compared; remove serving/{problem.name}.json to begin anew"
        )
    for column in schema["columns"]:
        if declared.get(column["name"]) != column["type"]:
            raise InputError(
                f"{model} reads column {column['name']!r} ({column['type']}), which the rows of problem "
                f"{problem.name!r} do not have: they cannot be compared; remove serving/{problem.name}.json to begin "
                "anew"
            )
    return [column["name"] for column in schema["columns"]]
