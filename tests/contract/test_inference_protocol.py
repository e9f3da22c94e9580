"""The Open Inference Protocol, by hand and by kserve's own client."""

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

CLIENTS = Path(__file__).resolve().parents[2] / ".tools/clients/bin/python"
BASE = "/v2/models/flights"
ROWS = [
    {"carrier": "UA", "origin": "EWR", "dest": "IAH", "month": 1, "distance": 1400.0, "temp": 39.02},
    {"carrier": "B6", "origin": "EWR", "dest": "IAH", "month": 7, "distance": 94.0, "temp": None},
]
TYPES = {"carrier": "BYTES", "origin": "BYTES", "dest": "BYTES", "month": "INT64", "distance": "FP32", "temp": "FP64"}


def tensor(name: str, *values: Any, **changed: Any) -> dict[str, Any]:
    return {"name": name, "datatype": TYPES.get(name, "FP32"), "shape": [len(values)], "data": [*values], **changed}


def tensors(**changed: Any) -> list[dict[str, Any]]:
    """Both rows as tensors; one of them None is left out."""
    made = {name: tensor(name, *(row[name] for row in ROWS)) for name in TYPES} | changed
    return [each for each in made.values() if each is not None]


def infer(server, inputs, **more):
    return server.client.post(f"{BASE}/infer", json={"inputs": inputs, **more})


@pytest.fixture(scope="module")
def wanted(flights):
    """What TensorFlow Serving's interface answers to the rows."""
    return flights.predict({"instances": ROWS}).json()["predictions"]


def test_the_metadata_is_the_schemas_and_what_it_says_can_be_posted(flights):
    document = flights.client.get(BASE).json()
    assert (document["name"], document["versions"], document["platform"]) == ("flights", ["1"], "penstock_slim")
    assert document["outputs"] == [{"name": "predictions", "datatype": "FP32", "shape": [-1]}]
    assert {each["name"]: each["datatype"] for each in document["inputs"]} == {
        **dict.fromkeys(("carrier", "origin", "dest", "engine"), "BYTES"),
        **{"month": "INT64", "seats": "INT64", "distance": "FP32", "temp": "FP32"},
    }
    assert flights.client.get(f"{BASE}/versions/1").json() == document
    assert flights.client.get("/v2").json()["name"] == "penstock"
    assert flights.client.get("/v2/health/live").json() == {"live": True}
    assert flights.client.get("/v2/health/ready").json() == {"ready": True}
    assert flights.client.get(f"{BASE}/versions/1/ready").json() == {"name": "flights", "ready": True}


def test_it_answers_as_the_other_interface_does_in_either_shape_and_by_any_version(flights, wanted):
    answer = infer(flights, tensors(), id="seven")
    assert answer.json() == {
        "model_name": "flights", "model_version": "1", "id": "seven",
        "outputs": [{"name": "predictions", "datatype": "FP32", "shape": [2], "data": wanted}],
    }  # fmt: skip
    assert answer.headers["x-model-digest"].startswith("sha256:")
    column = [tensor(name, *([row[name]] for row in ROWS), shape=[2, 1]) for name in TYPES]
    digest = answer.headers["x-model-digest"].removeprefix("sha256:")[:12]
    for version in ("1", digest):
        answered = flights.client.post(f"{BASE}/versions/{version}/infer", json={"inputs": column})
        assert answered.json()["outputs"][0]["data"] == wanted


def test_an_absent_tensor_is_missing_in_every_row_and_an_ignored_one_is_not_looked_at(flights):
    rows = [{**row, "temp": None} for row in ROWS]
    wanted = flights.predict({"instances": rows}).json()["predictions"]
    odd = tensor("arr_delay", shape="no shape of rows")
    odd["shape"] = [3, 5]
    assert infer(flights, tensors(temp=None, odd=odd)).json()["outputs"][0]["data"] == wanted


def test_binary_tensors_are_read_and_answered_and_nan_is_missing(flights, wanted):
    content = b""
    inputs = tensors()
    for each in inputs:
        values = each.pop("data")
        if each["datatype"] == "BYTES":
            data = b"".join(struct.pack("<I", len(text)) + text.encode() for text in values)
        else:
            kind = {"INT64": "q", "FP32": "f", "FP64": "d"}[each["datatype"]]
            data = struct.pack(f"<2{kind}", *(float("nan") if value is None else value for value in values))
        each["parameters"] = {"binary_data_size": len(data)}
        content += data
    outputs = [{"name": "predictions", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    stated = {"inference-header-content-length": str(len(head))}
    answer = flights.client.post(f"{BASE}/infer", content=head + content, headers=stated)
    length = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.content[:length])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert list(struct.unpack("<2f", answer.content[length:])) == pytest.approx(wanted, abs=1e-7)
    for cut in (1, 9, len(content)):
        refused = flights.client.post(f"{BASE}/infer", content=(head + content)[:-cut], headers=stated)
        assert refused.status_code == 400
        assert "binary_data_size is" in refused.json()["error"]
    for length in ("0", "-1", "x", "9" * 30, str(len(head) - 1), str(len(head + content) + 1)):
        refused = flights.client.post(
            f"{BASE}/infer", content=head + content, headers={"inference-header-content-length": length}
        )
        assert refused.status_code == 400, length
        assert refused.json()["error"]


def distance(*values: Any, **changed: Any) -> dict[str, Any]:
    return tensor("distance", *values, **changed)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"carrier": None}, "column 'carrier' is required and missing"),
        ({"odd": tensor("distence", 1.0, 2.0)}, "unknown column \"distence\", did you mean 'distance'?"),
        ({"month": tensor("month", 1, 1.5)}, "tensor 'month', row 1: 1.5 is no INT64"),
        ({"month": tensor("month", 1, 1.5, datatype="FP64")}, "row 1, column 'month': 1.5 is not a whole number"),
        ({"month": tensor("month", 1, None)}, "row 1, column 'month': null is not a value of a required column"),
        ({"distance": distance(1.0, 1e39, datatype="FP64")}, "row 1, column 'distance': 1e+39 is beyond"),
        ({"distance": distance(1.0, "far")}, "row 1, column 'distance': \"far\" is a string, expected a number"),
        ({"distance": distance(1.0)}, "column 'carrier' has 2 values and column 'distance' has 1"),
        ({"distance": distance(1.0, 2.0, shape=[3])}, "tensor 'distance' has 2 values and shape [3]"),
        ({"distance": distance(1.0, 2.0, shape=[1, 2])}, "tensor 'distance' has shape [1, 2], expected [rows]"),
        ({"distance": distance(shape=[0])}, "tensor 'distance' has shape [0], expected [rows]"),
        ({"distance": distance([1.0], [2.0, 3.0])}, "tensor 'distance', row 1: [2.0, 3.0] is not one value"),
        ({"distance": distance("1", "2", datatype="BYTES")}, "tensor 'distance' has datatype BYTES, expected FP32"),
        ({"carrier": tensor("carrier", 1, 2, datatype="INT64")}, "tensor 'carrier' has datatype INT64, expected BYTES"),
        ({"distance": distance(1, 2, datatype="FLOAT")}, "has datatype \"FLOAT\", expected BYTES"),
        ({"twice": tensor("distance", 1.0, 2.0)}, "tensor 'distance' is there twice"),
        ({"distance": {"name": "distance", "datatype": "FP32", "shape": [2]}}, "tensor 'distance' has no data"),
        ({"distance": distance(1.0, 2.0, parameters={"binary_data_size": 8})}, "binary_data_size is 8, 0 bytes"),
        ({"distance": 5}, "the body is no inference request: Expected `object`, got `int` - at `$.inputs[4]`"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(flights, changed, error):
    answer = infer(flights, tensors(**changed))
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert error in answer.json()["error"]


def test_other_models_versions_outputs_and_methods_are_refused_as_everywhere(flights):
    assert 'no model "ships" here' in flights.client.get("/v2/models/ships").json()["error"]
    assert 'has no version "7"' in flights.client.get(f"{BASE}/versions/7/ready").json()["error"]
    assert flights.client.get(f"{BASE}/infer").status_code == 405
    refused = infer(flights, tensors(), outputs=[{"name": "scores"}])
    assert refused.json() == {"error": "there is no output \"scores\", expected 'predictions'"}
    assert infer(flights, []).json() == {"error": "column 'carrier' is required and missing"}


def test_kserves_own_client_works_unchanged(flights, wanted):
    script = Path(__file__).parent / "clients/kserve_client.py"
    done = subprocess.run([CLIENTS, script, flights.url, "flights"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["live"], found["ready"], found["model"]) == (True, True, True)
    without = flights.predict({"instances": [{**row, "temp": None} for row in ROWS]}).json()["predictions"]
    for form, predictions in (("binary", wanted), ("json", without)):
        assert found[form]["id"] == "seven"
        assert found[form]["output"] == ["predictions", "FP32", [2]]
        assert found[form]["predictions"] == pytest.approx(predictions, abs=1e-6)
