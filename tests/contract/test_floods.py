"""A server whose model does not come to an end: what waits is told in time, what is too much is refused by its word."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from penstock_serving.access import Access
from penstock_serving.app import Application
from penstock_serving.backends import Columns
from penstock_serving.grpc_server import GrpcServer
from penstock_serving.schema import Column, ColumnType, Schema
from penstock_serving.seal import SealedModel
from penstock_serving.served import ServedModel
from penstock_serving.server import Server, bind
from penstock_serving.tensor_messages import message
from penstock_serving.versions import Versions
from penstock_trainer.artifacts import Manifest

PREDICT = "/tensorflow.serving.PredictionService/Predict"
QUEUE_ROWS = 16384
UNREADY = {
    "/readyz": {"status": "stuck"},
    "/v2/health/ready": {"ready": False},
    "/v2/models/m/ready": {"name": "m", "ready": False},
}
"""What is said where while no request is answered."""


class Gated:
    """Doubles its column; while `gate` is closed, no call of it ends."""

    name = "gated"
    quick_rows = 0

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.called: list[list[float]] = []

    def load(self, model: SealedModel) -> None:
        """There is nothing to load."""

    def predict(self, columns: Columns) -> list[float]:
        """Twice the values."""
        self.called.append(list(columns[0]))
        assert self.gate.wait(60)
        return [2.0 * value for value in columns[0]]


class Gatehouse:
    """A real server of that model in this process, and how it is asked."""

    def __init__(self, port: int, grpc_port: int, model: Gated, end: Callable[[], bool]) -> None:
        self.model, self.end = model, end
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")
        self.pool = ThreadPoolExecutor(8)

    def ask(self, values: list[float], **headers: str) -> httpx.Response:
        """By REST."""
        return self.client.post("/v1/models/m:predict", json={"instances": values}, headers=headers)

    def call(self, value: float, seconds: float = 60.0) -> Any:
        """By gRPC; the code and the trailing metadata of a refusal, else None."""
        asked = message("PredictRequest")()
        asked.model_spec.name = "m"
        tensor = asked.inputs.add(key="x").value
        tensor.dtype = 1
        tensor.tensor_shape.dim.add().size = 1
        tensor.float_val.append(value)
        try:
            self.channel.unary_unary(PREDICT)(asked.SerializeToString(), timeout=seconds)
        except grpc.RpcError as exc:
            return exc.code(), dict(tuple(each) for each in exc.trailing_metadata())  # pyright: ignore[reportArgumentType]
        return None

    def close_gate(self) -> Any:
        """Have a call begin that does not end; its answer to come."""
        self.model.gate.clear()
        first = self.pool.submit(self.ask, [-1.0])
        self.until(lambda: self.model.called[-1] == [-1.0])
        return first

    def waiting(self) -> int:
        """Rows in the queue."""
        (line,) = [x for x in self.client.get("/metrics").text.splitlines() if x.startswith("penstock_queue_rows{")]
        return round(float(line.rpartition(" ")[2]))

    @staticmethod
    def until(reached: Any) -> None:
        """Wait until it is so."""
        deadline = time.monotonic() + 60
        while not reached():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def gatehouse(request: pytest.FixtureRequest) -> Iterator[Gatehouse]:
    """A ready one; a test may give its deadline."""
    manifest = Manifest(kind="model", files={}, inputs={}, code="sha256:0")
    schema = Schema("m", "regression", "y", (Column("x", ColumnType.NUMBER, required=True),), ())
    samples = {"instances": [1.0], "predictions": [2.0]}
    sealed = SealedModel(Path("nowhere"), manifest.digest, {"model": manifest}, schema, samples)
    model = Gated()
    served = ServedModel("m", sealed, model, deadline_seconds=getattr(request, "param", 60.0))
    listener = bind("127.0.0.1", 0)
    probe = bind("127.0.0.1", 0)
    grpc_port = probe.socket.getsockname()[1]
    probe.socket.close()
    application = Application(Versions([served]))
    beside = GrpcServer(application, f"127.0.0.1:{grpc_port}", Access())
    server = Server(application, succeeds=False, beside=beside)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener.socket]})
    thread.start()

    def end() -> bool:
        """Stop; whether it did within 20 seconds."""
        server.should_exit = True
        thread.join(20)
        return not thread.is_alive()

    made = Gatehouse(listener.socket.getsockname()[1], grpc_port, model, end)
    made.until(lambda: served.available)
    yield made
    model.gate.set()
    made.client.close()
    made.channel.close()
    made.pool.shutdown()
    assert end()


def test_what_is_too_much_for_the_queue_is_429_with_when_to_come_back_by_rest_and_by_grpc(gatehouse):
    first = gatehouse.close_gate()
    second = gatehouse.pool.submit(gatehouse.ask, [1.0] * QUEUE_ROWS)
    gatehouse.until(lambda: gatehouse.waiting() == QUEUE_ROWS)
    refused = gatehouse.ask([2.0])
    assert (refused.status_code, int(refused.headers["retry-after"]) >= 1) == (429, True)
    assert refused.json()["error"].startswith(f"{QUEUE_ROWS} rows wait already, 1 more would pass the limit")
    code, told = gatehouse.call(2.0)
    assert (code, int(told["retry-after"]) >= 1) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
    gatehouse.model.gate.set()
    assert (first.result().status_code, second.result().status_code) == (200, 200)
    assert gatehouse.ask([2.0]).json() == {"predictions": [4.0]}
    assert [2.0] not in gatehouse.model.called[:-1]


@pytest.mark.parametrize("gatehouse", [2.0], indirect=True)
def test_a_model_that_hangs_costs_its_clients_a_limited_time_and_is_not_asked_for_what_nobody_awaits(gatehouse):
    first = gatehouse.close_gate()
    began = time.monotonic()
    hurried = gatehouse.ask([3.0], **{"x-request-timeout": "0.2"})
    assert hurried.status_code == 504
    assert gatehouse.client.get("/readyz").json() == {"status": "ready"}, "a slow model is there"
    assert time.monotonic() - began >= 0.2
    code, _ = gatehouse.call(4.0, seconds=0.2)
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    patient = gatehouse.pool.submit(gatehouse.ask, [5.0])
    called = gatehouse.pool.submit(gatehouse.call, 6.0)
    for late in (first, patient):
        assert late.result().status_code == 504
        assert late.result().json()["error"].startswith("the model did not answer in the time that")
    assert called.result()[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    assert gatehouse.waiting() == 0
    assert gatehouse.client.get("/healthz").status_code == 200
    for path, said in UNREADY.items():
        unready = gatehouse.client.get(path)
        assert (unready.status_code, unready.json()) == (503, said)
    assert 'penstock_requests_total{code="504",route="predict"} 3.0' in gatehouse.client.get("/metrics").text
    gatehouse.model.gate.set()
    gatehouse.until(lambda: gatehouse.ask([7.0]).json() == {"predictions": [14.0]})
    assert {gatehouse.client.get(path).status_code for path in UNREADY} == {200}
    assert set(map(tuple, gatehouse.model.called)) == {(1.0,), (-1.0,), (7.0,)}, "an answer that nobody waits for"


@pytest.mark.parametrize("gatehouse", [0.5], indirect=True)
def test_a_model_that_hangs_does_not_keep_the_server_from_ending(gatehouse):
    assert gatehouse.close_gate().result().status_code == 504
    assert gatehouse.end()


def test_a_time_that_is_none_is_400(gatehouse):
    for stated in ("soon", "0", "-1", "nan", "inf"):
        refused = gatehouse.ask([1.0], **{"x-request-timeout": stated})
        assert refused.status_code == 400
        assert refused.json()["error"] == f"x-request-timeout is {json.dumps(stated)}, expected seconds above 0"
