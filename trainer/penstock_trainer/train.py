"""Training: every example of every epoch at least once, whatever is lost on the way.

    python -m penstock_trainer train --problem flights --dataset artifacts/dataset/<key> --strategy local --epochs 3 \\
        --artifacts artifacts

The flights reach a test AUC of about 0.70 in three epochs; docs/measurements.md says how fast.

A run that was interrupted, however it was, goes on from its newest checkpoint that holds.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from penstock_trainer import artifacts, card, clusters, export, threads
from penstock_trainer.arithmetic import Arithmetic
from penstock_trainer.artifacts import Manifest, verify
from penstock_trainer.checkpoints import Checkpoints
from penstock_trainer.curves import Curves
from penstock_trainer.dataset import Dataset
from penstock_trainer.evaluation import SPLITS, Predictions
from penstock_trainer.loop import Trainer, describe
from penstock_trainer.membership import Member
from penstock_trainer.network import Network
from penstock_trainer.notices import Notices, Preempted
from penstock_trainer.problem import Problem, load_problem
from penstock_trainer.progress import Epoch, Progress
from penstock_trainer.ranges import Hyperparameters
from penstock_trainer.signing import SigningKey
from penstock_trainer.stages import Stage, code_digest, fingerprint, write_lineage

SEED = 1
CHECKPOINT_SECONDS = 20.0


@dataclass(frozen=True)
class Order:
    """What is to be trained: the same for every member of the cluster, and for the evaluator beside it."""

    problem: Problem
    dataset: Dataset
    hyperparameters: Hyperparameters
    lineage: dict[str, Manifest]
    stage: Stage
    strategy: str
    epochs: int
    arithmetic: Arithmetic

    @classmethod
    def read(
        cls,
        reference: str,
        dataset_path: Path,
        study: Path | None,
        root: Path,
        strategy: str,
        epochs: int,
        arithmetic: Arithmetic,
    ) -> "Order":
        """Open and verify all that the training starts from."""
        problem = load_problem(reference)
        dataset = Dataset.open(dataset_path, problem)
        lineage, hyperparameters = {"dataset": dataset.manifest}, {}
        if study:
            lineage["study"] = verify(study)
            hyperparameters = best_hyperparameters(study)
        inputs = {kind: manifest.digest for kind, manifest in lineage.items()}
        parameters = {"strategy": strategy, "epochs": epochs, "seed": SEED, "problem": fingerprint(problem)}
        parameters |= {"slices": list(problem.slices), **asdict(arithmetic)}
        functions = (problem.model, problem.derive, problem.label.of)
        stage = Stage("model", root, inputs, parameters, code_digest("train", problem, *functions))
        return cls(problem, dataset, hyperparameters, lineage, stage, strategy, epochs, arithmetic)

    @property
    def examples_due(self) -> int:
        """Every training example once an epoch."""
        return self.epochs * self.dataset.examples.rows("training")

    def checkpoints(self, variables: list[Any]) -> Checkpoints:
        """The run's checkpoints of these variables."""
        run = {"problem": self.problem.name, "key": self.stage.key}
        return Checkpoints(self.stage.scratch / "checkpoints", variables, run)


class Run:
    """A training that is resumed: its checkpoints, its curves, and what it says and writes between rounds."""

    def __init__(self, trainer: Trainer, order: Order, notices: Notices, curves: Curves):
        self.trainer, self.notices, self.curves = trainer, notices, curves
        self.checkpoints = order.checkpoints(trainer.network.state())
        self.leads = trainer.cluster.leads
        self._said = order.stage.scratch / "progress.json"
        self._saved = time.monotonic()
        self._before = 0.0  # when the last round before an interruption was done

    def resume(self) -> None:
        """Go on from the newest checkpoint, where there is one."""
        self._said.parent.mkdir(parents=True, exist_ok=True)
        manifest = self.checkpoints.restore()
        progress = Progress.of(manifest.counts, manifest.metrics) if manifest else Progress()
        if self._said.exists():  # an earlier start got so far
            trained = json.loads(self._said.read_text())["trained"]
            self._before = self._said.stat().st_mtime
            progress.discarded += max(0, trained - progress.trained)
            progress.resumes += 1
            where = f"epoch {progress.epoch + 1}, block {progress.blocks + 1}" if manifest else "the beginning"
            print(f"goes on from {where}: {progress.trained:,} examples are in the checkpoint", flush=True)
        self.trainer.progress = progress

    def after_round(self) -> None:
        """Write a checkpoint when one is due; where this process or one it needs is told to end, then end.

        Raises:
            Preempted: the checkpoint is written.
        """
        told = self.notices.to_heed()
        if not self.leads:
            return
        progress = self.trainer.progress
        if self._before:
            print(f"trains again, {time.time() - self._before:.1f} s after the last steps before", flush=True)
            self._before = 0.0
        artifacts.write_atomically(self._said, json.dumps({"trained": progress.trained}).encode())
        self.curves.round(progress)
        if told:
            self.save()
            self.notices.answer()
            raise Preempted(f"{', '.join(told)} was told to end; the checkpoint is written")
        if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            self.save()

    def say(self, epoch: Epoch, of: int) -> None:
        """Tell people of an epoch that is done."""
        if self.leads:
            print(describe(epoch, of), flush=True)
            self.curves.evaluated(self.trainer.progress, epoch.validation)

    def save(self) -> None:
        """Write a checkpoint."""
        if self.leads:
            progress = self.trainer.progress
            self.checkpoints.save(progress.counts(), progress.metrics())
            self._saved = time.monotonic()


def run_stage(order: Order, member: Member, signer: SigningKey | None) -> None:
    """Train as `member`, and, where it leads, evaluate, export, seal and, with a key, sign."""
    notices = Notices(order.stage.root, member)
    notices.listen()
    manifest = order.stage.finished()
    reused = manifest is not None
    if manifest is None:
        if order.strategy == "local":
            threads.choose(order.problem, order.dataset.statistics, order.hyperparameters)
        cluster = clusters.connect(order.strategy, member)
        trainer = Trainer(order.problem, order.dataset, cluster, order.hyperparameters, SEED, order.arithmetic)
        run = Run(trainer, order, notices, Curves(order.stage.root, order.stage.key, member.role))
        with notices.heeded():
            run.resume()
            for epoch in trainer.epochs(order.epochs, run.after_round):
                run.say(epoch, order.epochs)
                run.save()
        if member.leads:
            manifest = finish(trainer, order)
    if manifest and member.leads:
        if signer:
            signer.sign(order.stage.path, manifest)
        order.stage.report(manifest, reused=reused)


def finish(trainer: Trainer, order: Order) -> Manifest:
    """Evaluate, export, prove and seal the trained network."""
    problem, dataset, stage, progress = order.problem, order.dataset, order.stage, trainer.progress
    print(progress.sentence(order.examples_due), flush=True)
    if order.arithmetic.mixed:
        trainer.answer_by(in_float32(trainer, order))
    found: dict[str, Any] = {}
    stage.scratch.mkdir(parents=True, exist_ok=True)
    expected = {split: Predictions(stage.scratch / f"{split}.predictions") for split in SPLITS}
    for split in SPLITS:
        found[split] = trainer.measured(expected[split].kept(trainer.answers(split)))
    print("test: " + ", ".join(f"{name} {value:.4f}" for name, value in found["test"].items()), flush=True)
    with artifacts.building(stage.root, stage.kind, stage.key) as directory:
        network = in_float32(trainer, order)
        export.export(problem, dataset, network, directory)
        found["export"] = export.prove(problem, dataset, expected, directory)
        if left_out := found["export"]["left_out"]:
            print(f"left out of the proof: {left_out:,} rows of categories that the statistics let go", flush=True)
        found["slim"] = export.slim_form(problem, dataset, network, export.tolerance(expected), directory)
        if "reason" in found["slim"]:
            print(f"no slim form: {found['slim']['reason']}", flush=True)
        found["training"] = {"steps": dict(progress.steps)}
        write_lineage(directory, order.lineage, dataset.path)
        card.write(problem, dataset, network, order.hyperparameters, directory)
        counts = {**dataset.manifest.counts, **progress.account(order.examples_due), "epochs": order.epochs}
        return stage.seal(directory, counts=counts, metrics=found)


def in_float32(trainer: Trainer, order: Order) -> Network:
    """A network of this process alone that has the values of the trained one and computes in float32."""
    network = Network(order.problem, order.dataset.statistics, order.dataset.examples, order.hyperparameters)
    network.keras_model.set_weights(trainer.network.values())
    return network


def best_hyperparameters(study: Path) -> Hyperparameters:
    """The best trial's hyperparameters of a sealed study."""
    return json.loads((study / "study.json").read_text())["best"]["hyperparameters"]
