from types import SimpleNamespace as Message

from penstock_serving.schema import Column, ColumnType, Schema
from penstock_serving.tensors import STRING, columns


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
