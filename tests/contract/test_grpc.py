"""TensorFlow Serving's gRPC `Predict`, asked with its official stubs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

SLIM = Path(__file__).resolve().parents[2] / ".tools/serving-slim/bin/python"
SCRIPT = Path(__file__).parent / "clients/grpc_client.py"
ROWS = [
    {"carrier": "UA", "origin": "EWR", "dest": "IAH", "month": 1, "distance": 1400.0, "temp": 39.02},
    {"carrier": "B6", "origin": "EWR", "dest": "IAH", "month": 7, "distance": 94.0, "temp": None},
]
TOKEN = "the-token-of-the-grpc-test"


def test_the_official_stubs_are_answered_as_rest_is_over_tls_with_a_token_and_drained(serve, flights, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "key"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "certificate"))
    (tmp_path / "tokens").write_text(TOKEN)
    secured = ("--certificate", str(tmp_path / "certificate"), "--private-key", str(tmp_path / "key"))
    server = serve("flights", "--grpc-port", "0", *secured, "--token-file", str(tmp_path / "tokens"))
    target = f"localhost:{server.grpc_port}"
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    command = [sys.executable, "-W", "ignore", str(SCRIPT), target, "flights", str(tmp_path / "ca"), TOKEN]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])

    def wanted(*rows):
        return pytest.approx(flights.predict({"instances": rows}).json()["predictions"], abs=1e-6)

    digest = flights.predict({"instances": ROWS}).headers["x-model-digest"]
    for same in ("rows", "column", "half", "ignored", "version"):
        assert found[same] == [wanted(*ROWS), "flights", 1, digest], same
    assert found["filled"][0] == wanted(*({**row, "distance": 94.0} for row in ROWS))
    assert found["absent"][0] == wanted(*({**row, "temp": None} for row in ROWS))
    refused = {
        "required": ("INVALID_ARGUMENT", "column 'carrier' is required and missing"),
        "unknown": ("INVALID_ARGUMENT", "unknown column \"distence\", did you mean 'distance'?"),
        "type": ("INVALID_ARGUMENT", "input 'distance' is DT_STRING, expected DT_FLOAT"),
        "fraction": ("INVALID_ARGUMENT", "row 1, column 'month': 1.5 is not a whole number"),
        "shape": ("INVALID_ARGUMENT", "input 'distance' has shape [2, 2], expected [rows] or [rows, 1]"),
        "lengths": ("INVALID_ARGUMENT", "column 'distance' has 3 values and column 'carrier' has 2"),
        "large": ("RESOURCE_EXHAUSTED", ""),
        "bomb": ("INVALID_ARGUMENT", "input 'distance' has 1 values and 1000000000000 rows"),
        "text bomb": ("RESOURCE_EXHAUSTED", 'input "carrier" repeats 1000002 bytes in 3999 rows, the limit of what'),
        "model": ("NOT_FOUND", "no model \"ships\" here: this server has 'flights'"),
        "no version": ("NOT_FOUND", "model 'flights' has no version \"7\": it has 1"),
        "no token": ("UNAUTHENTICATED", "this server wants a token"),
        "garbage": ("INVALID_ARGUMENT", "the request is no PredictRequest"),
    }
    for what, (code, says) in refused.items():
        assert found[what][0] == code, (what, found[what])
        assert says in found[what][1]
    assert server.end() == 0
    assert "Traceback" not in server.log
    assert "tensorflow" not in server.log


def test_a_taken_port_is_refused_by_its_name(refused, models, taken_port):
    said = refused(models / "flights", "--grpc-port", str(taken_port))
    assert said.startswith(f"error: cannot listen on 127.0.0.1:{taken_port}: ")
    assert said.endswith("choose another --grpc-port or --host")


def test_without_grpcio_the_port_is_refused_with_the_way_out(refused, models, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(SLIM))
    assert "install penstock-serving[grpc]" in refused(models / "flights", "--grpc-port", "0")
