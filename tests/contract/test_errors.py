"""Each error that docs/rest.md lists, from a real server."""

import gzip
import json
import socket
from typing import Any

import pytest

ROW = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "month": 1, "distance": 1400.0}


def spelled(column: str, value: str) -> bytes:
    """A body whose second row has `value`, as JSON text, in `column`."""
    second = json.dumps({**ROW, column: "@"}).replace('"@"', value)
    return f'{{"instances": [{json.dumps(ROW)}, {second}]}}'.encode()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("distance", '"far"', "row 1, column 'distance': \"far\" is a string, expected a number"),
        ("distance", "true", "row 1, column 'distance': true is a boolean, expected a number"),
        ("distance", "[1]", "row 1, column 'distance': [1.0] is an array, expected a number"),
        ("distance", "null", "row 1, column 'distance': null is not a value of a required column"),
        ("distance", "NaN", "row 1, column 'distance': NaN is not JSON, expected a number"),
        ("distance", "-Infinity", "row 1, column 'distance': -Infinity is not JSON, expected a number"),
        ("distance", "1e400", "row 1, column 'distance': 1e400 is beyond the largest float32, 3.4e38"),
        ("distance", "1e39", "row 1, column 'distance': 1e39 is beyond the largest float32, 3.4e38"),
        ("distance", "1" * 5000, f"row 1, column 'distance': {'1' * 37}... is beyond the largest float32, 3.4e38"),
        ("month", "1.5", "row 1, column 'month': 1.5 is not a whole number"),
        ("month", "16777217", "row 1, column 'month': 16777217 is beyond 2**24, where float32 skips whole numbers"),
        ("month", '"1"', "row 1, column 'month': \"1\" is a string, expected a whole number"),
        ("carrier", "7", "row 1, column 'carrier': 7 is a number, expected a string"),
        (
            "carrier",
            '"\\ud800"',
            "row 1, column 'carrier': \"\\ud800\" holds half of a surrogate pair, which is no text",
        ),
        ("distence", "1", "row 1: unknown column \"distence\", did you mean 'distance'?"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_row_and_column(flights, column, value, said):
    answer = flights.predict(spelled(column, value))
    assert (answer.status_code, answer.json()) == (400, {"error": said})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"instances": [{"carrier": "UA"}]}, "row 0: column 'origin' is required and missing"),
        ({"instances": []}, "instances holds no row"),
        ({"instances": [5]}, "row 0 is a number, expected an object of columns"),
        ({"instances": ROW}, "instances is an object, expected an array of rows"),
        ({"instance": [ROW]}, "the body has an unknown key \"instance\", did you mean 'instances'?"),
        ({}, "the body has neither of 'instances' and 'inputs', expected one"),
        ([ROW], "the body is an array, expected an object with 'instances' or 'inputs'"),
        ({"instances": [ROW], "signature_name": "x"}, "signature_name is \"x\", this model has 'serving_default'"),
        (
            {"inputs": {n: [v] for n, v in ROW.items()} | {"month": 1}},
            "column 'month' is a number, expected an array of values",
        ),
        (
            {"inputs": {n: [v] for n, v in ROW.items()} | {"month": [None]}},
            "row 0, column 'month': null is not a value of",
        ),
        (
            {"inputs": {n: [v] for n, v in ROW.items()} | {"temp": [1, 2]}},
            "column 'temp' has 2 values and column 'carrier' has 1",
        ),
        ({"inputs": {"carrier": []}}, "column 'origin' is required and missing"),
    ],
)
def test_a_body_that_is_no_predict_request_is_told_why(flights, body: Any, said):
    answer = flights.predict(body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(said)


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"instances": [', b"\xff\xfe", b'{"instances": [{}]} x', b"null", b"[" * 10**6]
)
def test_a_body_that_is_not_json_is_400(flights, body):
    answer = flights.predict(body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_deep_nesting_in_an_ignored_column_is_400(flights):
    assert flights.predict(spelled("tailnum", "[" * 10**5 + "]" * 10**5)).json() == {
        "error": "the body is nested too deeply"
    }


def test_an_unknown_model_version_and_route_are_404_and_name_what_there_is(flights):
    post = flights.client.post
    said = {
        post("/v1/models/ships:predict", json={}).json()["error"]: "no model \"ships\" here: this server has 'flights'",
        post("/v1/models/flights/versions/7:predict", json={}).json()[
            "error"
        ]: "model 'flights' has no version \"7\": it has 1",
        flights.client.get("/helthz").json()["error"]: "no route \"/helthz\", did you mean '/healthz'?",
        post("/v1/models/flights:classify", json={}).json()["error"]: 'no route "/v1/models/flights:classify"',
    }
    for found, expected in said.items():
        assert found.startswith(expected)
    assert post("/v1/models/ships:predict", json={}).status_code == 404


def test_a_wrong_method_is_405_and_allow_names_the_right_one(flights):
    answer = flights.client.get("/v1/models/flights:predict")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    answer = flights.client.delete("/healthz")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_a_body_over_the_limit_is_413_whether_announced_or_not(flights):
    large = b" " * (8 * 1024 * 1024 + 1)
    assert flights.predict(large).status_code == 413
    with socket.create_connection(("127.0.0.1", flights.port), timeout=10) as raw:
        raw.sendall(b"POST /v1/models/flights:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413")
    chunked = flights.client.post("/v1/models/flights:predict", content=iter([large[: 2**22]] * 3))
    assert chunked.status_code == 413


def test_a_request_of_too_many_rows_is_413(flights):
    answer = flights.predict({"instances": [ROW] * 65_537})
    said = "the request has 65537 rows, the limit is 65536: post fewer rows at a time"
    assert (answer.status_code, answer.json()) == (413, {"error": said})


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip"])
def test_a_body_in_another_compression_than_gzip_is_415(flights, encoding):
    answer = flights.predict(b"{}", headers={"content-encoding": encoding})
    said = f"content-encoding '{encoding}': post the body as it is, or as gzip"
    assert (answer.status_code, answer.json()) == (415, {"error": said})


WHOLE = gzip.compress(b'{"instances": []}')


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (WHOLE, 400, "instances holds no row"),
        (b'{"instances": []}', 400, "the body is no gzip, as content-encoding says: Error -3"),
        (WHOLE[:-1], 400, "the body is no gzip, as content-encoding says: it ends too early"),
        (b"", 400, "the body is no gzip, as content-encoding says: it ends too early"),
        (WHOLE + b"{}", 400, "the body is no gzip, as content-encoding says: 2 bytes follow"),
        (gzip.compress(b" " * (8 * 1024 * 1024 + 1)), 413, "the body has over 8388608 bytes when unpacked"),
    ],
)
def test_a_body_that_is_no_gzip_though_it_says_so_or_too_large_a_one_is_refused(flights, body, status, said):
    answer = flights.predict(body, headers={"content-encoding": "gzip"})
    assert answer.status_code == status
    assert answer.json()["error"].startswith(said)


def test_what_is_not_http_is_400_and_counted_and_the_server_lives(flights):
    counted = 'penstock_requests_total{code="400",route="none"}'
    assert counted not in flights.client.get("/metrics").text
    with socket.create_connection(("127.0.0.1", flights.port), timeout=10) as raw:
        raw.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    assert flights.client.get("/healthz").status_code == 200
    assert f"{counted} 1.0" in flights.client.get("/metrics").text


def test_errors_log_no_value_that_a_client_posted(flights):
    flights.predict(spelled("distance", '"a person\'s secret"'))
    assert "secret" not in flights.log
