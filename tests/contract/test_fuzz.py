"""Whatever is posted, the server says what is wrong with it and lives: over 10,000 bodies, all in `make test`."""

import gzip
import http.client
import json
import random
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from penstock_serving.bodies import BODY_LIMIT, HELD_LIMIT

ROW = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "month": 1, "distance": 1400.0, "temp": None}
BODIES = 7000
TENSOR_BODIES = 2500
ROW_EXAMPLES = 300
DOCUMENT_EXAMPLES = 150
ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 1e308, -1e39, 2**24, 2**24 + 1, 10**30, 10**400, "", "x" * 5000, "\x00",
    "é\U0001f600", "\ud800", [], [[]], [None], {}, {"": {}}, float("nan"), float("inf"), "NaN", "1",
]  # fmt: skip


def body(chance: random.Random) -> bytes:
    """A predict request, spoilt in one of many ways or in none."""
    rows: list[Any] = [dict(ROW) for _ in range(chance.randint(0, 4))]
    for row in rows:
        if chance.random() < 0.5:
            row[chance.choice([*ROW, "seats", "engine", "flight", "odd", "", "carrier "])] = chance.choice(ODD)
        if chance.random() < 0.1:
            del row[chance.choice(list(ROW))]
    request: Any = {"instances": rows}
    match chance.randint(0, 9):
        case 0:
            request = {"inputs": {name: [row.get(name) for row in rows] for name in ROW}}
        case 1:
            request[chance.choice(["inputs", "signature_name", "instances", "more"])] = chance.choice(ODD)
        case 2:
            request = chance.choice(ODD)
        case _:
            pass
    return spoilt(json.dumps(request).encode(), chance)


def tensor_body(chance: random.Random) -> bytes:
    """The same for a request of the Open Inference Protocol."""
    types = {
        "carrier": "BYTES",
        "origin": "BYTES",
        "dest": "BYTES",
        "month": "INT64",
        "distance": "FP32",
        "temp": "FP64",
    }
    rows = chance.randint(0, 3)
    inputs = [
        {"name": name, "datatype": kind, "shape": [rows], "data": [ROW[name] for _ in range(rows)]}
        for name, kind in types.items()
    ]
    request: Any = {"inputs": inputs, "id": "x"}
    spoiling = chance.randint(0, 3)
    if spoiling == 0:
        chance.choice(inputs)[chance.choice(["name", "datatype", "shape", "data", "parameters"])] = chance.choice(ODD)
    elif spoiling == 1:
        chance.choice(inputs)["data"] = [chance.choice(ODD) for _ in range(rows)]
    elif spoiling == 2:
        request[chance.choice(["inputs", "id", "outputs", "parameters", "more"])] = chance.choice(
            [*ODD, [chance.choice(ODD)]]
        )
    return spoilt(json.dumps(request).encode(), chance)


def spoilt(text: bytes, chance: random.Random) -> bytes:
    """Cut, with something put into it, with bytes changed, or as it is."""
    match chance.randint(0, 5):
        case 0:
            return text[: chance.randint(0, len(text))]
        case 1:
            at = chance.randint(0, len(text))
            return (
                text[:at]
                + chance.choice([b"\x00", b"\xff", b"[" * 3000, b"]", b'"', b"1e400", b"-", b"\\u"])
                + text[at:]
            )
        case 2:
            return bytes(
                chance.choice([byte, chance.randint(0, 255)]) if chance.random() < 0.02 else byte for byte in text
            )
        case _:
            return text


def answered(post: Callable[[bytes], Any], make: Callable[[random.Random], bytes], bodies: int) -> Counter[int]:
    """How many answers had which status; each is checked on the way."""
    chance = random.Random(20131)
    codes: Counter[int] = Counter()
    for _ in range(bodies):
        posted = make(chance)
        answer = post(posted)
        codes[answer.status_code] += 1
        assert answer.status_code in (200, 400), (posted, answer.text)
        assert answer.json().get("error") if answer.status_code == 400 else answer.json()
    return codes


@pytest.mark.parametrize(("backend", "bodies"), [("slim", BODIES), ("tensorflow", BODIES // 7)])
def test_no_body_gets_a_5xx_and_every_refusal_says_why(serve, flights, backend, bodies):
    server = flights if backend == "slim" else serve("flights", "--backend", backend).wait_until_ready()
    codes = answered(server.predict, body, bodies)
    assert min(codes.values()) > bodies / 20, codes
    assert server.predict({"instances": [ROW]}).status_code == 200
    assert "request failed" not in server.log


def test_no_body_of_tensors_gets_a_5xx_either(flights):
    def post(posted: bytes) -> Any:
        return flights.client.post("/v2/models/flights/infer", content=posted)

    codes = answered(post, tensor_body, TENSOR_BODIES)
    assert min(codes.values()) > TENSOR_BODIES / 20, codes

    def binary(posted: bytes) -> Any:
        length = str(random.Random(len(posted)).randint(0, len(posted)))
        return flights.client.post(
            "/v2/models/flights/infer", content=posted, headers={"inference-header-content-length": length}
        )

    assert answered(binary, tensor_body, TENSOR_BODIES // 5)[400]
    assert "request failed" not in flights.log


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def test_any_value_in_any_column_is_answered_or_refused_by_the_columns_name(flights):
    @hypothesis.settings(max_examples=ROW_EXAMPLES, deadline=None, database=None, derandomize=True)
    @hypothesis.given(st.sampled_from(sorted(ROW)), VALUES)
    def check(column: str, value: Any) -> None:
        answer = flights.predict(json.dumps({"instances": [ROW, {**ROW, column: value}]}).encode())
        assert answer.status_code in (200, 400)
        if answer.status_code == 400:
            assert f"column {column!r}" in answer.json()["error"]

    check()
    assert "request failed" not in flights.log


@pytest.mark.parametrize(("model", "examples"), [("flights", DOCUMENT_EXAMPLES), ("kinds", 25), ("album", 25)])
def test_every_operation_of_the_openapi_document_answers_as_it_says_to_what_fits_it_and_to_what_does_not(
    serve, flights, model, examples
):
    server = flights if model == "flights" else serve(model).wait_until_ready()
    document = schemathesis.openapi.from_dict(server.client.get("/openapi.json").json())
    kept = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
        checks.negative_data_rejection,
    ]
    asked: Counter[str] = Counter()
    answers: Counter[tuple[str, int]] = Counter()
    modes: tuple[Any, ...] = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    for found in document.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        for mode in modes:
            if mode.name == "NEGATIVE" and operation.method.upper() == "GET":
                continue  # it has nothing that could be wrong

            @hypothesis.settings(
                max_examples=examples if operation.method.upper() == "POST" else 2,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
            )
            @hypothesis.given(operation.as_strategy(generation_mode=mode))
            def check(case: schemathesis.Case) -> None:
                asked[case.path] += 1
                response = case.call(base_url=server.url)
                answers[case.path, response.status_code] += 1
                if response.status_code not in (405, 404):  # a fuzzed path or method is another operation
                    case.validate_response(response, checks=kept)

            check()
    assert len(asked) > 15
    assert sum(asked.values()) > 4 * examples
    assert "request failed" not in server.log
    # No made up bytes are a picture; and that tensors must have equally many values, no schema can say.
    if model != "album":
        assert answers[f"/v1/models/{model}:predict", 200] > 0, "nothing that fits the document was answered"


def test_bodies_of_megabytes_and_of_a_hundred_thousand_brackets_are_answered(flights):
    large = {"instances": [{**ROW, "carrier": "x" * 7_000_000}]}
    assert flights.predict(large).status_code == 200
    assert flights.predict({"instances": [{**ROW, "carrier": "x" * 10_000_000}]}).status_code == 413
    for posted in (b"[" * 100_000, b'{"instances":' * 20_000, b'{"instances": [' + b'{"arr_delay": ' * 50_000):
        assert flights.predict(posted).status_code == 400
        assert flights.client.post("/v2/models/flights/infer", content=posted).status_code == 400
    assert flights.predict({"instances": [ROW]}).status_code == 200


def peak_mib(server) -> float:
    """The most memory that the process has ever had."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


def test_many_bodies_of_megabytes_at_a_time_are_held_up_to_a_limit_and_a_gzip_is_unpacked_up_to_one(serve):
    server = serve("half_plus_three").wait_until_ready()
    clients, each = 40, 6 * 1024 * 1024
    whole = json.dumps({"instances": [1.5]}).encode().ljust(BODY_LIMIT)
    head = f"POST /v1/models/half_plus_three:predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(whole)}\r\n\r\n"
    assert server.predict(whole).status_code == 200
    before = peak_mib(server)
    asked = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(clients)]
    for connection in asked:
        connection.sendall(head.encode() + whole[:each])
    assert server.client.get("/healthz").status_code == 200
    statuses: Counter[int] = Counter()
    for connection in asked:
        with connection:
            connection.sendall(whole[each:])
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            statuses[answer.status] += 1
            if answer.status == 503:
                assert int(answer.headers["retry-after"]) >= 1
                assert json.loads(answer.read())["error"].endswith(f"on their way already, the limit is {HELD_LIMIT}")
    assert set(statuses) == {200, 503}, statuses
    bomb = gzip.compress(bytes(32 * BODY_LIMIT), 1)
    assert len(bomb) < BODY_LIMIT
    for _ in range(3):
        assert server.predict(bomb, headers={"content-encoding": "gzip"}).status_code == 413
    assert peak_mib(server) < before + HELD_LIMIT / 2**20 + 64, "40 clients sent 240 MiB"
    assert server.predict(whole).status_code == 200, "what was held has been given back"


def test_a_flood_and_clients_that_stall_cost_neither_memory_nor_the_others_their_answers(serve):
    server = serve("half_plus_three").wait_until_ready()
    rows = 50_000
    posted = json.dumps({"instances": [1.5] * rows}).encode()
    head = f"POST /v1/models/half_plus_three:predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(posted)}\r\n"
    assert server.predict(posted).status_code == 200
    before = peak_mib(server)
    stalled = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    for number, connection in enumerate(stalled):
        connection.sendall((head + "\r\n").encode()[: 1 + number] + posted[: 1000 * (number > 90)])
    deaf = [socket.create_connection(("127.0.0.1", server.port), timeout=0.2) for _ in range(2)]
    for connection in deaf:
        with pytest.raises(TimeoutError):  # it is read no further while it reads no answer
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 400_000)
    codes: Counter[str] = Counter()

    def flood() -> None:
        for _ in range(4):
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
                connection.sendall((head + "connection: close\r\n\r\n").encode() + posted)
                answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            codes[answer[9:12].decode()] += 1
            assert answer.startswith(b"HTTP/1.1 200") or b"retry-after: 1" in answer

    threads = [threading.Thread(target=flood) for _ in range(40)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert server.client.get("/healthz").status_code == 200
    for thread in threads:
        thread.join()
    assert sum(codes.values()) == 160, codes
    assert set(codes) <= {"200", "429"}, codes
    assert codes["200"] >= 1
    assert server.predict({"instances": [1.0]}).json() == {"predictions": [3.5]}
    assert peak_mib(server) < before + 400
    for connection in (*stalled, *deaf):
        connection.close()
    assert server.predict({"instances": [1.0]}).status_code == 200
    assert "request failed" not in server.log
