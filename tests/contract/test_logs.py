"""What a real server writes to standard error while it is asked well and badly."""

import json
import re
import socket
from typing import Any

import grpc
import pytest

from penstock_serving.tensor_messages import message

PREDICT = "/tensorflow.serving.PredictionService/Predict"
ROW = {
    "carrier": "Zaphod Air",
    "origin": "Betelgeuse",
    "dest": "Magrathea",
    "month": 1,
    "distance": 27182.75,
    "temp": 31415.5,
}
VALUES = re.compile("zaphod|betelgeuse|magrathea|27182|31415", re.IGNORECASE)
FLOAT, STRING = 1, 7
LITERT = "INFO: Created TensorFlow Lite XNNPACK delegate for CPU."
"""What LiteRT writes as it loads, past every logger."""


def rows(**changed: Any) -> str:
    return json.dumps({"instances": [{**ROW, **changed}]})


def tensors(**changed: Any) -> bytes:
    """The row for gRPC."""
    asked = message("PredictRequest")()
    asked.model_spec.name = "flights"
    for name, value in {**ROW, **changed}.items():
        tensor = asked.inputs.add(key=name).value
        tensor.tensor_shape.dim.add().size = 1
        tensor.dtype = STRING if isinstance(value, str) else FLOAT
        if isinstance(value, str):
            tensor.string_val.append(value.encode())
        else:
            tensor.float_val.append(value)
    return asked.SerializeToString()


def test_every_line_is_json_and_none_has_a_value_of_a_row(serve):
    server = serve("flights", "--grpc-port", "0", "--window-seconds", "1").wait_until_ready()
    assert server.predict(rows().encode()).status_code == 200
    two = {name: [value] * (1 + (name == "temp")) for name, value in ROW.items()}
    for body in (
        rows(distance="27182.75 miles"),
        rows(month=27182.75),
        rows(temp=-1e39),
        rows(carrier=None),
        rows(zaphod="Zaphod Air"),
        rows()[:-20],
        json.dumps({"inputs": two}),
        json.dumps({"instances": [ROW], "signature_name": "Zaphod Air"}),
        "Zaphod Air",
    ):
        assert server.predict(body.encode()).status_code == 400
    assert server.predict(b"Zaphod", headers={"content-encoding": "gzip"}).status_code == 400
    assert server.client.post("/v1/models/flights/Zaphod", content=rows()).status_code == 404

    tensor = {"name": "distance", "datatype": "BYTES", "shape": [1], "data": ["27182.75 miles"]}
    assert server.client.post("/v2/models/flights/infer", json={"inputs": [tensor]}).status_code == 400
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"Zaphod Air\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 400 ")

    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary(PREDICT)
        assert call(tensors(), timeout=60)
        for asked in (tensors(distance="27182.75 miles"), tensors(zaphod=1.0)[:-1], b"Zaphod Air"):
            with pytest.raises(grpc.RpcError):
                call(asked, timeout=60)

    assert server.end() == 0
    lines = [json.loads(line) for line in server.log.splitlines()]
    assert [line["said"] for line in lines if line["event"] == "library"] == [LITERT]
    assert all({"time", "level", "logger", "event"} <= line.keys() for line in lines)
    assert {"starting", "listening", "ready", "stopped"} <= {line["event"] for line in lines}
    assert not VALUES.search(server.log)
