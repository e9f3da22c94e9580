"""Each route of a real server, as docs/rest.md states it."""

import gzip
import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from penstock_serving.asking import LARGE_BODY
from penstock_trainer.artifacts import Manifest

BASE = "/v1/models/flights"


@pytest.fixture(scope="module")
def samples(flights) -> dict[str, list[Any]]:
    """The model's sample rows with the trainer's answers."""
    return json.loads((flights.model / "samples.json").read_text())


def test_rows_get_the_trainers_own_answers(flights, samples):
    answer = flights.predict({"instances": samples["instances"]})
    assert answer.status_code == 200
    assert list(answer.json()) == ["predictions"]
    assert answer.json()["predictions"] == pytest.approx(samples["predictions"], abs=1e-6)


def test_columns_get_the_same_answers_under_outputs_as_tensorflow_serving_does(flights, samples):
    names = {name for row in samples["instances"] for name in row}
    columns = {name: [row.get(name) for row in samples["instances"]] for name in names}
    answer = flights.predict({"signature_name": "serving_default", "inputs": columns})
    assert list(answer.json()) == ["outputs"]
    assert answer.json()["outputs"] == pytest.approx(samples["predictions"], abs=1e-6)


def test_rows_posted_together_and_at_once_get_the_answers_they_get_alone(flights, samples):
    rows = [{**samples["instances"][0], "distance": 10.0 * n, "month": 1 + n % 12} for n in range(200)]
    alone = [flights.predict({"instances": [row]}).json()["predictions"][0] for row in rows]
    together = flights.predict({"instances": rows}).json()["predictions"]
    with ThreadPoolExecutor(16) as pool:
        at_once = list(pool.map(lambda row: flights.predict({"instances": [row]}).json()["predictions"][0], rows))
    assert together == pytest.approx(alone, abs=1e-6)
    assert at_once == pytest.approx(alone, abs=1e-6)


def test_an_absent_column_an_explicit_null_and_an_ignored_column_change_nothing(flights, samples):
    row = {name: value for name, value in samples["instances"][1].items() if value is not None}
    absent = flights.predict({"instances": [row]}).json()
    assert flights.predict({"instances": [{**row, "temp": None, "seats": None, "engine": None}]}).json() == absent
    assert flights.predict({"instances": [{**row, "arr_delay": {"any": ["thing"]}, "flight": 7}]}).json() == absent


def test_a_whole_number_may_be_spelled_with_a_fraction(flights, samples):
    row = samples["instances"][0]
    spelled = flights.predict({"instances": [{**row, "month": 1.0}]})
    assert spelled.json() == flights.predict({"instances": [{**row, "month": 1}]}).json()


def test_a_body_may_be_gzip_and_a_large_answer_is_where_the_client_takes_that(flights, samples):
    many = {"instances": samples["instances"] * 1000}
    plain = flights.predict(many, headers={"accept-encoding": "identity"})
    packed = gzip.compress(json.dumps(many).encode())
    for encoding in ("gzip", "GZip"):
        answer = flights.predict(packed, headers={"content-encoding": encoding, "accept-encoding": "br, gzip;q=0.5"})
        assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip")
        assert int(answer.headers["content-length"]) < len(plain.content) / 2
        assert answer.json() == plain.json()
    assert "content-encoding" not in plain.headers
    assert len(plain.headers["content-length"]) > 4
    for refused in ("", "br", "gzip;q=0", "x-gzip ; q=0.0"):
        assert "content-encoding" not in flights.predict(many, headers={"accept-encoding": refused}).headers
    small = flights.predict({"instances": samples["instances"]}, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in small.headers


def test_a_small_request_may_have_a_large_answer_which_is_packed_too(serve):
    server = serve("half_plus_three").wait_until_ready()
    body = json.dumps({"instances": [1] * 9000}).encode()
    assert len(body) < LARGE_BODY
    answer = server.predict(body, headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json() == {"predictions": [3.5] * 9000}
    assert answer.headers["x-model-digest"] == Manifest.read(server.model).digest


def test_a_version_in_the_path_gets_the_same_answer(flights, samples):
    body = {"instances": samples["instances"]}
    versioned = flights.client.post(f"{BASE}/versions/1:predict", json=body)
    assert versioned.json() == flights.predict(body).json()


def test_every_prediction_carries_the_models_digest_refused_ones_too(flights, samples):
    digest = Manifest.read(flights.model).digest
    assert flights.predict({"instances": samples["instances"]}).headers["x-model-digest"] == digest
    assert flights.predict({"instances": []}).headers["x-model-digest"] == digest


@pytest.mark.parametrize("path", [BASE, f"{BASE}/versions/1"])
def test_status_is_tensorflow_servings(flights, path):
    no_error = {"error_code": "OK", "error_message": ""}
    expected = {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": no_error}]}
    assert flights.client.get(path).json() == expected


def test_metadata_is_tensorflow_servings_signature(flights):
    metadata = flights.client.get(f"{BASE}/metadata").json()
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert signature["outputs"]["predictions"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
    assert metadata["model_spec"] == {"name": "flights", "signature_name": "", "version": "1"}
    assert signature["inputs"]["carrier"]["dtype"] == "DT_STRING"
    assert signature["inputs"]["month"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": shape,
        "name": "serving_default_month:0",
    }
    assert signature["outputs"]["predictions"]["dtype"] == "DT_FLOAT"
    assert signature["method_name"] == "tensorflow/serving/predict"


def test_the_attestation_can_be_checked_by_its_reader_down_to_the_raw_files(flights):
    attestation = flights.client.get(f"{BASE}/attestation").json()
    chain = {link["kind"]: link for link in attestation["chain"]}
    assert list(chain) == ["model", "study", "dataset", "raw"]
    assert attestation["digest"] == chain["model"]["digest"] == Manifest.read(flights.model).digest
    for link in chain.values():
        assert Manifest(**link["manifest"]).digest == link["digest"]
        for kind, digest in link["manifest"]["inputs"].items():
            assert chain[kind]["digest"] == digest
    assert chain["dataset"]["manifest"]["counts"]["rows"] == 1000


def test_probes_say_alive_and_ready(flights):
    assert flights.client.get("/healthz").json() == {"status": "alive"}
    assert flights.client.get("/readyz").json() == {"status": "ready"}


def test_metrics_count_requests_rows_and_batches(flights, samples):
    def value(metric: str) -> float:
        lines = flights.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric))

    metrics = (
        'penstock_requests_total{code="200",route="predict"}',
        'penstock_requests_total{code="400",route="predict"}',
        "penstock_rows_total",
        "penstock_batch_rows_count",
        "penstock_request_duration_seconds_count",
    )
    before = [value(metric) for metric in metrics]
    flights.predict({"instances": samples["instances"]})
    flights.predict(b"not JSON")
    assert [value(metric) - start for metric, start in zip(metrics, before, strict=True)] == [1, 1, 3, 1, 2]
    assert value(f'penstock_model_info{{digest="{Manifest.read(flights.model).digest}"') == 1


def test_the_openapi_document_s_own_example_is_answered_as_it_says(flights):
    document = flights.client.get("/openapi.json").json()
    predict = document["paths"][f"{BASE}:predict"]["post"]
    example = predict["requestBody"]["content"]["application/json"]["example"]
    answer = predict["responses"]["200"]["content"]["application/json"]["example"]
    assert flights.predict(example).json()["predictions"] == pytest.approx(answer["predictions"], abs=1e-6)
    for path, operations in document["paths"].items():
        if "get" in operations:
            assert flights.client.get(path).status_code == 200, path


def test_the_console_needs_nothing_from_elsewhere(flights):
    page = flights.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert Manifest.read(flights.model).digest in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_head_is_get_without_a_body(flights):
    answer = flights.client.head("/healthz")
    assert (answer.status_code, answer.content) == (200, b"")


def test_of_several_classes_an_answer_is_the_probability_of_each_in_the_documented_order(serve):
    server = serve("kinds").wait_until_ready()
    found = server.predict({"instances": [{"x": 2.0}, {"x": -1.0}]}).json()["predictions"]
    exponents = [[math.exp(x), 1.0, math.exp(-x)] for x in (2.0, -1.0)]
    for answer, powers in zip(found, exponents, strict=True):
        assert answer == pytest.approx([power / sum(powers) for power in powers], abs=1e-6)
    assert server.predict({"inputs": {"x": [2.0, -1.0]}}).json()["outputs"] == found
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [2.0, -1.0]}]}
    (tensor,) = server.client.post("/v2/models/kinds/infer", json=body).json()["outputs"]
    assert (tensor["shape"], tensor["data"]) == ([2, 3], [*found[0], *found[1]])
    signature = server.client.get("/v1/models/kinds/metadata").json()["metadata"]["signature_def"]["signature_def"]
    answered = signature["serving_default"]["outputs"]["predictions"]["tensor_shape"]
    assert [dim["size"] for dim in answered["dim"]] == ["-1", "3"]
    document = server.client.get("/openapi.json").json()["paths"]["/v1/models/kinds:predict"]["post"]
    answer = document["responses"]["200"]["content"]["application/json"]["schema"]["oneOf"][0]
    one = answer["properties"]["predictions"]["items"]
    assert (one["minItems"], one["maxItems"]) == (3, 3)
    assert "elm, fir, oak" in one["description"]
    assert "kinds" in server.client.get("/").text


def test_what_is_counted_of_several_classes_is_the_likeliest_s_probability(serve, tmp_path):
    server = serve("kinds", "--observations", str(tmp_path)).wait_until_ready()
    server.predict({"instances": [{"x": 2.0}, {"x": -1.0}]})
    assert server.end() == 0
    (window,) = tmp_path.glob("*/predictions.json")
    found = json.loads(window.read_text())["columns"]["predictions"]
    likeliest = [math.exp(x) / (math.exp(x) + 1 + math.exp(-x)) for x in (2.0, 1.0)]
    assert (found["min"], found["max"]) == pytest.approx((likeliest[1], likeliest[0]), abs=1e-6)
