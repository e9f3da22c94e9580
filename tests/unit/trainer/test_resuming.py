"""A training that is told to end, or whose loss is no number, in processes of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import penstock_trainer

from .conftest import run

FLIGHTS = Path(penstock_trainer.__file__).parent / "problems" / "flights.py"


def flags(artifacts, dataset, epochs, problem="flights"):
    return ["train", "--problem", problem, "--artifacts", artifacts, "--dataset", dataset.path, "--epochs", str(epochs)]


def test_sigterm_writes_a_checkpoint_within_its_grace_and_the_next_start_ends_as_if_nothing_had_been(dataset, tmp_path):
    command = [sys.executable, "-m", "penstock_trainer", *map(str, flags(tmp_path / "told", dataset, 12))]
    grace = {"PENSTOCK_GRACE_SECONDS": "25"}  # a busy machine needs more than the 5 of the default
    first = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **grace}
    )
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("epoch 2 of 12"):
            break
    first.send_signal(signal.SIGTERM)
    _, errors = first.communicate(timeout=30)
    assert first.returncode == 143
    assert "error: chief-0 was told to end; the checkpoint is written" in errors
    (scratch,) = (tmp_path / "told/models").glob(".*.scratch")
    assert list((scratch / "checkpoints").glob("0*/manifest.json"))
    assert not (tmp_path / "told/.notices").exists()

    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "goes on from epoch" in second.stdout
    assert "resumed 1 times from a checkpoint, 0 examples" in second.stdout
    (resumed,) = (tmp_path / "told/models").glob("[0-9a-f]*/manifest.json")
    told = json.loads(resumed.read_text())
    assert told["counts"]["examples_seen"] == 12 * dataset.counts["training"] == told["counts"]["examples_due"]
    assert told["counts"]["resumes"] == 1
    undisturbed = run(*flags(tmp_path / "calm", dataset, 12), folder=tmp_path)
    assert undisturbed.counts["resumes"] == 0
    # Dropout goes on from another place in its random numbers.
    assert told["metrics"]["test"]["auc"] == pytest.approx(undisturbed.metrics["test"]["auc"], abs=0.02)


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


@pytest.mark.parametrize("arguments", [[], ["train"], ["tune"], ["preprocess"], ["raw"], ["curves"]])
def test_help_fits_a_terminal_and_names_every_default(arguments, capsys):
    from penstock_trainer.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith("usage: python -m penstock_trainer")
    for flag in ("--epochs", "--strategy", "--trials", "--rows", "--port"):
        position = told.find(f"\n  {flag}")
        if position >= 0:
            assert "default" in told[position : position + 200], flag
