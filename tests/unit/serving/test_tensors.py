from types import SimpleNamespace as Message

import pytest

from penstock_serving.bodies import BODY_LIMIT
from penstock_serving.errors import TooLargeError
from penstock_serving.schema import Column, ColumnType, Schema
from penstock_serving.tensor_messages import message
from penstock_serving.tensors import REPEATED_ROWS, STRING, columns, repeated_bytes


def repeating(rows: int, *tensors: dict):
    """The inputs of a request: tensors of so many rows, by their fields."""
    shape = message("Shape")(dim=[message("Dimension")(size=rows)])
    return [message("Named")(key="x", value=message("Tensor")(tensor_shape=shape, **fields)) for fields in tensors]


def test_a_picture_is_bytes_and_a_text_is_text():
    seen = Column("scan", ColumnType.IMAGE, required=True), Column("remark", ColumnType.TEXT, required=False)
    schema = Schema(name="album", head="regression", label="y", classes=(), columns=seen, ignored=())
    shape = Message(unknown_rank=False, dim=[Message(size=1)])
    tensors = {"scan": b"\x89PNG\xff", "remark": "née".encode()}
    inputs = [
        Message(key=name, value=Message(dtype=STRING, tensor_shape=shape, string_val=[value]))
        for name, value in tensors.items()
    ]
    assert columns(inputs, schema) == {"scan": [{"b64": "iVBOR/8="}], "remark": ["née"]}


@pytest.mark.parametrize(
    ("rows", "tensor", "size"),
    [
        (1000, {"dtype": STRING, "string_val": [b"x" * 500, b"abc"]}, 998 * 5),
        (1000, {"dtype": STRING, "string_val": [b"x"] * 1000}, 0),
        (1000, {"dtype": STRING}, 0),
        (1000, {"dtype": 1, "float_val": [1.0]}, 999 * 4),
        (1000, {"dtype": 9, "tensor_content": bytes(16)}, 998 * 8),
        (1000, {"dtype": 99}, 0),
        (REPEATED_ROWS + 1, {"dtype": 1, "float_val": [1.0]}, 0),  # refused, not repeated
    ],
)
def test_what_is_repeated_counts_as_if_it_had_been_sent(rows, tensor, size):
    assert repeated_bytes(repeating(rows, tensor)) == size
    assert repeated_bytes(repeating(rows, tensor, tensor)) == 2 * size


def test_a_request_repeats_no_more_than_a_body_may_have():
    large = {"dtype": STRING, "string_val": [b"x" * (BODY_LIMIT // 400 - 2)]}
    assert repeated_bytes(repeating(401, large)) == BODY_LIMIT // 400 * 400
    with pytest.raises(TooLargeError, match=r'input "x" repeats 20971 bytes in 401 rows, the limit of what'):
        repeated_bytes(repeating(402, large))
    small = {"dtype": STRING, "string_val": [b""]}
    with pytest.raises(TooLargeError):
        repeated_bytes(repeating(REPEATED_ROWS, *[small] * 300))
