"""TensorFlow Serving's gRPC `Predict` of an endpoint whose workers come, go and are succeeded."""

import socket
import threading
import time
from collections import Counter

import grpc
import pytest

from penstock_serving.bodies import ROWS_LIMIT
from penstock_serving.tensor_messages import message

PREDICT = "/tensorflow.serving.PredictionService/Predict"
FLOAT = 1
PAUSE_SECONDS = 0.02
"""Between a client's calls: what is asserted is that none is lost, not how many there are."""


def request(name: str) -> bytes:
    """Three rows, as bytes."""
    asked = message("PredictRequest")()
    asked.model_spec.name = name
    tensor = asked.inputs.add(key="x").value
    tensor.dtype = FLOAT
    tensor.tensor_shape.dim.add().size = 3
    tensor.float_val.extend([1.0, 2.0, 5.0])
    return asked.SerializeToString()


class Calls(threading.Thread):
    """One client that calls without end on one channel, as gRPC's clients do; it never tries a call again itself."""

    def __init__(self, port: int, body: bytes) -> None:
        super().__init__()
        self.body, self.channel = body, grpc.insecure_channel(f"127.0.0.1:{port}")
        self.by: Counter[str] = Counter()
        """Answers by the digest of the model that gave them."""
        self.leaving = False
        self.lost: list[str] = []
        self.start()

    def run(self) -> None:
        call = self.channel.unary_unary(PREDICT)
        while not self.leaving:
            try:
                _, context = call.with_call(self.body, timeout=60)
                self.by[str(dict(context.initial_metadata())["x-model-digest"])] += 1
            except grpc.RpcError as exc:
                self.lost.append(f"{exc.code()}: {exc.details()}")
            time.sleep(PAUSE_SECONDS)

    def end(self) -> "Calls":
        """Call no more."""
        self.leaving = True
        self.join()
        self.channel.close()
        return self


@pytest.fixture
def grpc_port():
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def endpoint(supervised, grpc_port):
    """An endpoint that answers gRPC too, without a plan."""
    return supervised("--grpc-port", str(grpc_port))


def test_no_call_is_lost_by_a_new_version_more_workers_a_successor_and_the_end_of_the_first(endpoint, grpc_port):
    endpoint.plan()
    endpoint.start()
    clients = [Calls(grpc_port, request(endpoint.NAME)) for _ in range(4)]
    (first,) = endpoint.workers()
    endpoint.until(lambda: all(client.by for client in clients))
    endpoint.follow(latest="2")
    endpoint.until(lambda: first not in endpoint.workers())
    endpoint.until(lambda: all(client.by[endpoint.digests["2"]] for client in clients))
    endpoint.follow(latest="2", replicas={"lowest": 2, "highest": 2})
    endpoint.until(lambda: endpoint.status()["ready"] == 2)
    endpoint.start()
    endpoint.processes[0].terminate()
    assert endpoint.processes[0].wait(30) == 0
    before = [client.by.total() for client in clients]
    endpoint.until(lambda: all(client.by.total() > count for client, count in zip(clients, before, strict=True)))
    ended = [client.end() for client in clients]
    assert [client.lost for client in ended] == [[]] * 4
    assert all(set(client.by) == set(endpoint.digests.values()) for client in ended)


def test_from_zero_the_first_call_is_held_and_answered_and_an_idle_client_keeps_no_worker(endpoint, grpc_port):
    endpoint.plan(replicas={"lowest": 0, "highest": 1, "idle_seconds": 2.0})
    endpoint.start().until(lambda: not endpoint.workers())
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        for _ in range(2):
            _, context = channel.unary_unary(PREDICT).with_call(request(endpoint.NAME), timeout=60)
            assert dict(context.initial_metadata())["x-model-digest"] == endpoint.digests["1"]
            endpoint.until(lambda: not endpoint.workers())


def test_a_large_request_and_answer_pass_whole(endpoint, grpc_port):
    endpoint.plan()
    endpoint.start()
    asked = message("PredictRequest")()
    asked.model_spec.name = endpoint.NAME
    tensor = asked.inputs.add(key="x").value
    tensor.dtype = FLOAT
    tensor.tensor_shape.dim.add().size = ROWS_LIMIT
    tensor.float_val.extend(float(number % 1000) for number in range(ROWS_LIMIT))
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}", [("grpc.max_receive_message_length", -1)]) as channel:
        answer = message("PredictResponse").FromString(
            channel.unary_unary(PREDICT)(asked.SerializeToString(), timeout=60)
        )
    (output,) = answer.outputs
    predictions = output.value.float_val
    assert len(predictions) == ROWS_LIMIT
    assert [*predictions[:3], predictions[-1]] == [3.0, 3.5, 4.0, 270.5]
