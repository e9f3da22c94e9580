"""Which backend answers, and that it makes no difference to a client."""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from penstock_trainer.artifacts import Manifest, seal

ROWS = [
    {"carrier": "UA", "origin": "EWR", "dest": "IAH", "month": month, "distance": 10.5 * month, "temp": temp}
    for month in range(1, 13)
    for temp in (None, 20.25, 71.6)
] + [{"carrier": "never seen", "origin": "", "dest": "B6", "month": 2, "distance": 0, "engine": None, "seats": 149}]
SLIM = Path(__file__).resolve().parents[2] / ".tools/serving-slim/bin/python"


def backend(server):
    return server.client.get(f"/v1/models/{server.name}/attestation").json()["backend"]


def test_a_model_with_a_proven_slim_form_is_served_by_it_and_any_other_by_tensorflow(flights, serve):
    assert backend(flights) == "slim"
    assert backend(serve("without_slim").wait_until_ready()) == "tensorflow"


def test_both_backends_give_the_same_answers_one_by_one_and_together(flights, serve):
    tensorflow = serve("flights", "--backend", "tensorflow").wait_until_ready()
    assert backend(tensorflow) == "tensorflow"
    wanted = tensorflow.predict({"instances": ROWS}).json()["predictions"]
    assert flights.predict({"instances": ROWS}).json()["predictions"] == pytest.approx(wanted, abs=1e-6)
    assert flights.predict({"instances": ROWS * 20}).json()["predictions"] == pytest.approx(wanted * 20, abs=1e-6)
    for row, answer in zip(ROWS, wanted, strict=True):
        assert flights.predict({"instances": [row]}).json()["predictions"] == pytest.approx([answer], abs=1e-6)
    assert len(set(wanted)) > 30


def test_the_slim_environment_has_no_tensorflow_and_serves_the_slim_form(serve, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(SLIM))
    server = serve("flights").wait_until_ready()
    assert server.predict({"instances": ROWS}).status_code == 200
    maps = Path(f"/proc/{server.process.pid}/maps")
    if maps.exists():
        assert "_pywrap_litert" in maps.read_text()
    assert not list((SLIM.parents[1] / "lib").glob("*/site-packages/tensorflow*"))
    assert server.end() == 0


def test_without_tensorflow_a_model_that_needs_it_is_refused_with_the_way_out(refused, models, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(SLIM))
    line = refused(models / "without_slim")
    assert "is served by TensorFlow (the model has no slim form), which this environment lacks" in line
    assert "requirements-tensorflow.txt" in line


def resealed(model: Path, folder: Path, **changed: object) -> Path:
    """A copy of a model whose seal holds but says something else of the slim form."""
    copy = shutil.copytree(model, folder / "model")
    fields = asdict(Manifest.read(copy))
    fields["metrics"]["slim"].update(changed)
    (copy / "manifest.json").unlink()
    seal(copy, **{name: fields[name] for name in ("kind", "inputs", "code", "parameters", "counts", "metrics")})
    assert json.loads((copy / "manifest.json").read_text())["metrics"]["slim"].items() >= changed.items()
    return copy


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"reason": "LiteRT has no RightShift"}, "LiteRT has no RightShift"),
        ({"rows": 2}, "the proof is of 2 rows, the test split has 3"),
        ({"splits": {"validation": 2, "test": 3}}, "the proof is of 2 rows, the validation split has None"),
        ({"splits": {"test": 2}, "rows": 3}, "the proof is of 2 rows, the test split has 3"),
        ({"max_difference": 0.1}, "the proof found a difference of 0.1, over 1e-06"),
        ({"slim": "sha256:0"}, "the proof is of another slim/ than the sealed one"),
        ({"saved_model": "sha256:0"}, "the proof is of another saved_model/ than the sealed one"),
    ],
)
def test_without_its_proof_the_slim_form_is_not_served(refused, models, tmp_path, changed, reason):
    line = refused(resealed(models / "flights", tmp_path, **changed), "--backend", "slim")
    assert f"cannot be served by the slim backend: {reason}" in line
