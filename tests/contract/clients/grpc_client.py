"""TensorFlow Serving's own stubs, used as its documentation does: `python grpc_client.py TARGET NAME [CA TOKEN]`."""

import json
import sys
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_service_pb2_grpc
from tensorflow_serving.apis.predict_pb2 import PredictRequest  # pyright: ignore[reportAttributeAccessIssue]

ROWS = {
    "carrier": ["UA", "B6"],
    "origin": ["EWR", "EWR"],
    "dest": ["IAH", "IAH"],
    "month": np.array([1, 7], np.int64),
    "distance": np.array([1400.0, 94.0], np.float32),
    "temp": np.array([39.02, np.nan], np.float64),
}


def request(name: str, **changed) -> PredictRequest:
    """Both rows, and what is changed of them; None leaves an input out."""
    made = PredictRequest()
    made.model_spec.name = name
    made.model_spec.signature_name = "serving_default"
    for column, values in {**ROWS, **changed}.items():
        if values is not None:
            made.inputs[column].CopyFrom(tf.make_tensor_proto(values))
    return made


def main(target: str, name: str, authority: str = "", token: str = "") -> None:
    """Print what each request got: predictions, or the status and its words."""
    if authority:
        secure = grpc.ssl_channel_credentials(Path(authority).read_bytes())
        channel = grpc.secure_channel(target, secure)
    else:
        channel = grpc.insecure_channel(target)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    found = {}

    def ask(what: str, asked, metadata=metadata) -> None:
        try:
            answer, call = stub.Predict.with_call(asked, 30.0, metadata=metadata)
        except grpc.RpcError as exc:
            found[what] = [exc.code().name, exc.details()]
        else:
            values = tf.make_ndarray(answer.outputs["predictions"]).tolist()
            digest = dict(call.initial_metadata())["x-model-digest"]
            found[what] = [values, answer.model_spec.name, answer.model_spec.version.value, digest]

    ask("rows", request(name))
    ask("column", request(name, carrier=np.array([["UA"], ["B6"]], object)))
    ask("filled", request(name, distance=tf.constant(94.0, shape=[2])))
    ask("half", request(name, distance=np.array([1400.0, 94.0], np.float16), month=np.array([1, 7], np.uint8)))
    ask("absent", request(name, temp=None))
    ask("ignored", request(name, arr_delay=np.zeros((3, 4, 5))))
    versioned = request(name)
    versioned.model_spec.version.value = 1
    ask("version", versioned)
    ask("required", request(name, carrier=None))
    ask("unknown", request(name, distence=np.array([1.0, 2.0])))
    ask("type", request(name, distance=["far", "farther"]))
    ask("fraction", request(name, month=np.array([1, 1.5])))
    ask("shape", request(name, distance=np.zeros((2, 2), np.float32)))
    ask("lengths", request(name, distance=np.zeros(3, np.float32)))
    ask("large", request(name, distance=np.zeros(3_000_000, np.float32)))
    ask("model", request("ships"))
    versioned.model_spec.version.value = 7
    ask("no version", versioned)
    bomb = request(name)
    bomb.inputs["distance"].CopyFrom(tf.make_tensor_proto(1.0, shape=[10**12]))
    ask("bomb", bomb)
    bomb = request(name)
    bomb.inputs["carrier"].CopyFrom(tf.make_tensor_proto(b"U" * 10**6, shape=[4000]))
    ask("text bomb", bomb)
    if token:
        ask("no token", request(name), metadata=())
    garbage = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    try:
        garbage(b"\xff\xff\xff", 30.0, metadata=metadata)
    except grpc.RpcError as exc:
        found["garbage"] = [exc.code().name, exc.details()]
    print(json.dumps(found))


main(*sys.argv[1:])
