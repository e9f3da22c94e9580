"""Which backend answers, and that it makes no difference to a client."""

import http.client
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


def answers(server, rows):
    return server.predict({"instances": rows}).json()["predictions"]


def answered_together(server, parts):
    """The answers to requests that are all sent before one is read."""
    asked = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=60) for _ in parts]
    for connection in asked:
        connection.connect()
    for connection, part in zip(asked, parts, strict=True):
        connection.request("POST", f"/v1/models/{server.name}:predict", json.dumps({"instances": part}).encode())
    found = []
    for connection in asked:
        found += json.loads(connection.getresponse().read())["predictions"]
        connection.close()
    return found


def calls(server):
    """How often the model was called."""
    (line,) = [x for x in server.client.get("/metrics").text.splitlines() if x.startswith("penstock_batch_rows_count{")]
    return float(line.rpartition(" ")[2])


def test_both_backends_give_the_same_answers_one_by_one_and_together(flights, serve):
    tensorflow = serve("flights", "--backend", "tensorflow").wait_until_ready()
    assert backend(tensorflow) == "tensorflow"
    wanted = answers(tensorflow, ROWS)
    assert len(set(wanted)) > 30
    for server in (flights, tensorflow):
        assert answers(server, ROWS * 20) == pytest.approx(wanted * 20, abs=1e-6)
        for size in (1, 2, 5):
            parts = [ROWS[start : start + size] for start in range(0, len(ROWS), size)]
            found = [answer for part in parts for answer in answers(server, part)]
            assert found == pytest.approx(wanted, abs=1e-6)
            before = calls(server)
            assert answered_together(server, parts * 2) == pytest.approx(wanted * 2, abs=1e-6)
            if server is tensorflow:  # the other answers before the next one comes
                assert calls(server) < before + len(parts) * 2, "no two were answered by one call"


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
