"""What goes over the wire, read back; the official stubs read it in the contract tests."""

import math

import pytest

from penstock_serving.tensor_messages import message, predict_response


@pytest.mark.parametrize(
    ("predictions", "shape"), [([0.5, 0.25], [2]), ([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]], [2, 3]), ([math.inf], [1])]
)
def test_a_prediction_is_one_number_or_one_a_class(predictions, shape):
    response = message("PredictResponse")()
    response.ParseFromString(predict_response("flights", "12", "serving_default", "predictions", predictions))
    (output,) = response.outputs
    assert (output.key, [dim.size for dim in output.value.tensor_shape.dim]) == ("predictions", shape)
    flat = [value for row in predictions for value in (row if isinstance(row, list) else [row])]
    assert list(output.value.float_val) == flat
    assert (response.model_spec.name, response.model_spec.version.value) == ("flights", 12)
