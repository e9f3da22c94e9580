"""The protocol buffers of TensorFlow Serving's `Predict`, as far as a model of columns needs them.

Declared here field by field, in a pool of their own: the packages that bring them take TensorFlow, whose own
declarations may be in this process too.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto
PACKAGE = "penstock"
# Field numbers of tensorflow/core/framework/tensor.proto and tensorflow_serving/apis/{model,predict}.proto; an
# enumeration's number is an int32's on the wire, and a map is a repeated pair.
MESSAGES: Mapping[str, Mapping[str, tuple[int, Any, bool]]] = {
    "Dimension": {"size": (1, Field.TYPE_INT64, False)},
    "Shape": {"dim": (2, "Dimension", True), "unknown_rank": (3, Field.TYPE_BOOL, False)},
    "Tensor": {
        "dtype": (1, Field.TYPE_INT32, False),
        "tensor_shape": (2, "Shape", False),
        "tensor_content": (4, Field.TYPE_BYTES, False),
        "float_val": (5, Field.TYPE_FLOAT, True),
        "double_val": (6, Field.TYPE_DOUBLE, True),
        "int_val": (7, Field.TYPE_INT32, True),
        "string_val": (8, Field.TYPE_BYTES, True),
        "int64_val": (10, Field.TYPE_INT64, True),
        "half_val": (13, Field.TYPE_INT32, True),
        "uint32_val": (16, Field.TYPE_UINT32, True),
        "uint64_val": (17, Field.TYPE_UINT64, True),
    },
    "Named": {"key": (1, Field.TYPE_STRING, False), "value": (2, "Tensor", False)},
    "Version": {"value": (1, Field.TYPE_INT64, False)},
    "ModelSpec": {
        "name": (1, Field.TYPE_STRING, False),
        "version": (2, "Version", False),
        "signature_name": (3, Field.TYPE_STRING, False),
        "version_label": (4, Field.TYPE_STRING, False),
    },
    "PredictRequest": {
        "model_spec": (1, "ModelSpec", False),
        "inputs": (2, "Named", True),
        "output_filter": (3, Field.TYPE_STRING, True),
    },
    "PredictResponse": {"outputs": (1, "Named", True), "model_spec": (2, "ModelSpec", False)},
}


@cache
def message(name: str) -> Callable[..., Any]:
    """The class of the message `name`."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


def predict_response(model: str, version: str, signature: str, output: str, predictions: Sequence[Any]) -> bytes:
    """The answer: one float32 tensor of shape [rows], or [rows, classes] where a prediction is a list."""
    values = np.array(predictions, np.float32)
    shape = message("Shape")(dim=[message("Dimension")(size=size) for size in values.shape])
    tensor = message("Tensor")(dtype=1, tensor_shape=shape, float_val=values.ravel().tolist())
    spec = message("ModelSpec")(name=model, signature_name=signature, version=message("Version")(value=int(version)))
    outputs = [message("Named")(key=output, value=tensor)]
    return message("PredictResponse")(outputs=outputs, model_spec=spec).SerializeToString()


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="penstock/predict.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        declared = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
            if isinstance(kind, str):
                which = {"type": Field.TYPE_MESSAGE, "type_name": f".{PACKAGE}.{kind}"}
            else:
                which = {"type": kind}
            declared.field.add(name=field, number=number, label=label, **which)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool
