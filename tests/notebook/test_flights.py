"""The notebook, executed from top to bottom on the small stack of the tests, against a server of its own."""

import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT, free_port

NOTEBOOK = CHECKOUT / "notebooks/flights.ipynb"
KERNEL = CHECKOUT / ".tools/notebook/bin"
WINDOW_SECONDS = "2"


@pytest.fixture(scope="module")
def endpoint(served, tmp_path_factory) -> Iterator[str]:
    """The stack's model behind a server whose windows are short."""
    served.configure()
    served.run("up")
    model = served.deployment()["flow-train-model"]["outputs"]["path"]
    port = free_port()
    command = [
        served.root / "serving/.venv/bin/python",
        "-m",
        "penstock_serving",
        "--model",
        model,
        "--name",
        "flights",
    ]
    command += ["--port", str(port), "--window-seconds", WINDOW_SECONDS]
    with (tmp_path_factory.mktemp("server") / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while not _ready(port):
        assert server.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield f"http://127.0.0.1:{port}/v1/models/flights"
    server.terminate()
    server.wait(30)


@pytest.fixture(scope="module")
def outputs(served, endpoint, tmp_path_factory) -> list[dict[str, Any]]:
    """All outputs of the executed notebook, in order."""
    folder = tmp_path_factory.mktemp("notebook")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "JUPYTER", "MPL"))}
    own = {
        "PENSTOCK_HOME": str(served.root / ".penstock"),
        "PENSTOCK_ENDPOINT": endpoint,
        "PENSTOCK_WINDOW_SECONDS": WINDOW_SECONDS,
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    command = [KERNEL / "python", "-m", "jupyter", "execute", NOTEBOOK, "--output", folder / "executed.ipynb"]
    done = subprocess.run(command, env={**kept, **own}, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr[-4000:]
    cells = json.loads((folder / "executed.ipynb").read_text())["cells"]
    return [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def _said(outputs: list[dict[str, Any]]) -> str:
    return "".join("".join(output.get("text", "")) for output in outputs)


def test_no_outputs_are_committed():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


def test_the_data_and_the_skew_are_drawn(outputs):
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 5
    assert all(len(picture["data"]["image/png"]) > 5000 for picture in pictures)


def test_the_beam_job_prepared_every_row_with_the_drafted_column_under_a_progress_bar(served, outputs):
    bars = ["".join(output["data"].get("text/html", "")) for output in outputs if "data" in output]
    manifests = [json.loads(file.read_text()) for file in (_made(served) / "dataset").glob("*/manifest.json")]
    (manifest,) = manifests
    assert manifest["counts"]["rows"] == served.outputs()["rows"]["rows"]
    assert "planned_speed" in manifest["parameters"]["derived"]
    assert any(re.fullmatch(r"<progress value=1 max=1></progress> preprocess: sha256:\w+", bar) for bar in bars)


def test_the_small_model_is_sealed_and_compared_with_the_deployed_one_on_the_same_rows(served, outputs):
    assert len(list((_made(served) / "models").glob("*/manifest.json"))) == 1
    said = _said(outputs)
    rows, compared = re.search(r"AUC on ([\d,]+) rows:\n(\{.*?\})", said, re.DOTALL).groups()  # pyright: ignore
    assert int(rows.replace(",", "")) > 300
    found = json.loads(compared)
    assert set(found) == {"deployed", "draft"}
    assert all(0 < auc < 1 for auc in found.values())  # an epoch of 6,000 rows teaches little: at times below 0.4
    assert f"deployed: {served.outputs()['model_digest'][:19]}" in said


def test_rows_in_another_unit_are_told_as_skew(outputs):
    assert re.search(r"^skew\nmean of `distance` moved by \+", _said(outputs), re.MULTILINE)


def _made(served) -> Path:
    return served.root / ".penstock/notebook"
