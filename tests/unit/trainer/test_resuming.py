"""A training that is told to end, or whose loss is no number, in processes of its own."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import penstock_trainer
from penstock_trainer.__main__ import BUNDLED, main, parser

from .conftest import run

FLIGHTS = Path(penstock_trainer.__file__).parent / "problems" / "flights.py"


NO_PERIODIC = """
import sys
from penstock_trainer.__main__ import main
from penstock_trainer import train
train.CHECKPOINT_SECONDS = float("inf")
sys.exit(main(sys.argv[1:]))
"""
"""A training that writes checkpoints at the ends of epochs, and when it is told to end."""


def flags(artifacts, dataset, epochs, problem="flights"):
    return ["train", "--problem", problem, "--artifacts", artifacts, "--dataset", dataset.path, "--epochs", str(epochs)]


def test_sigterm_writes_a_checkpoint_within_its_grace_and_the_next_start_ends_as_if_nothing_had_been(dataset, tmp_path):
    command = [sys.executable, "-c", NO_PERIODIC, *map(str, flags(tmp_path / "told", dataset, 12))]
    grace = {"PENSTOCK_GRACE_SECONDS": "25"}  # as on a cluster
    first = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **grace}
    )
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("epoch 2 of 12"):
            break
    told = time.time()
    first.send_signal(signal.SIGTERM)
    _, errors = first.communicate(timeout=300)
    assert first.returncode == 143
    assert "error: chief-0 was told to end; the checkpoint is written" in errors
    (scratch,) = (tmp_path / "told/models").glob(".*.scratch")
    newest = max((scratch / "checkpoints").glob("0*/manifest.json"))
    assert newest.stat().st_mtime >= told
    assert json.loads(newest.read_text())["counts"]["blocks"] > 0  # within an epoch: no epoch's end wrote it
    assert not (tmp_path / "told/.notices").exists()

    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "goes on from epoch" in second.stdout
    assert "resumed 1 times from a checkpoint, 0 examples" in second.stdout
    (resumed,) = (tmp_path / "told/models").glob("[0-9a-f]*/manifest.json")
    sealed = json.loads(resumed.read_text())
    assert sealed["counts"]["examples_seen"] == 12 * dataset.counts["training"] == sealed["counts"]["examples_due"]
    assert sealed["counts"]["resumes"] == 1
    undisturbed = run(*flags(tmp_path / "calm", dataset, 12), folder=tmp_path)
    assert undisturbed.counts["resumes"] == 0
    # Dropout goes on from another place in its random numbers.
    assert sealed["metrics"]["test"]["auc"] == pytest.approx(undisturbed.metrics["test"]["auc"], abs=0.02)


def test_a_loss_that_is_no_number_names_feature_and_batch_and_keeps_the_last_good_checkpoint(raw, tmp_path):
    """From the third epoch on one raw value is as if a sensor had failed: the block on disk is changed."""
    problem = tmp_path / "flights.py"
    problem.write_text(FLIGHTS.read_text().replace('Scaled("seats")', 'Scaled("seats", by="min_max")'))
    prepared = run("preprocess", "--problem", problem, "--artifacts", tmp_path, "--raw", raw.path, folder=tmp_path)
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from penstock_trainer import loop\n"
        "from penstock_trainer.__main__ import main\n"
        "evaluate = loop.Trainer.evaluate\n"
        "def then_break(self, split):\n"
        "    if self.progress.epoch == 2:\n"
        "        examples = self.dataset.examples\n"
        "        path = self.dataset.path / examples.blocks['training'][0].path\n"
        "        cells = np.fromfile(path, '<f4').reshape(examples.width, -1)\n"
        "        cells[examples.numbers.index('seats'), 17] = np.inf\n"
        "        cells.tofile(path)\n"
        "    return evaluate(self, split)\n"
        "loop.Trainer.evaluate = then_break\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", code, *map(str, flags(tmp_path, prepared, 9, str(problem)))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr[-2000:]
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "epoch 3: the loss or its gradient is no longer a number: feature seats_scaled is inf in batch " in message
    assert "there seats = inf" in message
    (kept,) = (tmp_path / "models").glob(".*.scratch/checkpoints/000002/manifest.json")
    assert json.loads(kept.read_text())["counts"]["epoch"] == 2


STAGES = ("raw", "preprocess", "tune", "train", "compare", "curves", "predict", "verify", "sign")


bundled = [path.stem for path in FLIGHTS.parent.glob("*.py") if "problem = Problem(" in path.read_text()]


@pytest.mark.parametrize("arguments", [[], *([stage] for stage in STAGES)])
def test_help_reads_well_and_names_every_default(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith("usage: python -m penstock_trainer")
    (stages,) = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    assert tuple(stages.choices) == STAGES
    if not arguments:
        assert re.findall(r"^    ([a-z]+)\b", told, re.MULTILINE) == list(STAGES)
        return
    assert re.search(r"\n\n[a-z][^\n]+\n", told), "says nothing of what it does"
    for action in stages.choices[arguments[0]]._actions:
        if action.default not in (None, argparse.SUPPRESS):
            assert "default" in str(action.help), action.dest


def test_help_names_every_bundled_problem():
    assert bundled
    for name in bundled:
        assert re.search(rf"bundled problem \([^)]*\b{name}\b", BUNDLED)
