"""A model of pictures and texts, asked as TensorFlow Serving's clients ask: bytes as `{"b64": "..."}`."""

import base64
import json
import struct
import zlib

import pytest


def png(grey: int, width: int = 2, height: int = 2) -> bytes:
    """A PNG file of one grey, by hand."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress((b"\0" + bytes([grey]) * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def encoded(content: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(content).decode()}


@pytest.fixture(scope="module")
def album(serve):
    return serve("album").wait_until_ready()


def test_rows_and_columns_are_answered_whatever_the_pictures_size(album):
    rows = [{"scan": encoded(png(255)), "remark": "One, two; THREE"}, {"scan": encoded(png(51, 30, 20))}]
    assert album.predict({"instances": rows}).json()["predictions"] == pytest.approx([1.3, 0.2], abs=1e-6)
    columns = {"scan": [row["scan"] for row in rows], "remark": ["a b c d e f g", None]}
    assert album.predict({"inputs": columns}).json()["outputs"] == pytest.approx([1.5, 0.2], abs=1e-6)
    taken = ["2013-06-01 23:30-02:30", None]  # TensorFlow's graph gets it as text
    assert album.predict({"inputs": {**columns, "taken": taken}}).json()["outputs"][0] == pytest.approx(201.5)


@pytest.mark.parametrize(
    ("scan", "said"),
    [
        ("abc", "row 0, column 'scan': \"abc\" is a string, expected a picture as"),
        ({"b65": "QQ=="}, "is an object, expected a picture as"),
        ({"b64": "?"}, "is not base64"),
        ({"b64": ""}, "the picture has no bytes"),
        (None, "null is not a value of a required column"),
        (encoded(b"no picture at all"), "the model refuses a row: it is no JPEG, PNG, GIF or BMP picture"),
        (encoded(png(1, 60_000, 1)[:16] + struct.pack(">II", 60_000, 60_000)), "more than 33,554,432 pixels"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason_and_no_other_request_with_it(album, scan, said):
    answer = album.predict({"instances": [{"scan": scan}]})
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert album.predict({"instances": [{"scan": encoded(png(0))}]}).json() == {"predictions": [0.0]}


def test_the_log_is_json_without_what_was_posted(album):
    posted = {"scan": encoded(b"no picture of Zaphod"), "remark": "Zaphod"}
    assert album.predict({"instances": [posted]}).status_code == 400
    assert album.predict({"instances": [{**posted, "scan": encoded(png(0))}]}).status_code == 200
    assert {"starting", "ready"} <= {json.loads(line)["event"] for line in album.log.splitlines()}
    assert "Zaphod" not in album.log
    assert posted["scan"]["b64"] not in album.log


def test_the_document_says_how_a_picture_is_sent(album):
    row = album.client.get("/openapi.json").json()["components"]["schemas"]["Row"]
    assert row["properties"]["scan"]["properties"]["b64"]["contentEncoding"] == "base64"
    assert row["properties"]["remark"] == {"type": ["string", "null"]}
    types = album.client.get("/v1/models/album/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert types["serving_default"]["inputs"]["scan"]["dtype"] == "DT_STRING"


def test_a_picture_is_bytes_in_the_inference_protocol(album):
    def ask(data):
        tensor = {"name": "scan", "datatype": "BYTES", "shape": [len(data)], "data": data}
        return album.client.post("/v2/models/album/infer", json={"inputs": [tensor]})

    answer = ask([encoded(png(255))["b64"], encoded(png(51))["b64"]])
    assert answer.json()["outputs"][0]["data"] == pytest.approx([1.0, 0.2], abs=1e-6)
    assert "is not base64" in ask(["?"]).json()["error"]
    infer = album.client.get("/openapi.json").json()["paths"]["/v2/models/album/infer"]["post"]
    body = infer["requestBody"]["content"]["application/json"]["schema"]
    tensors = {t["properties"]["name"]["const"]: t for t in body["properties"]["inputs"]["items"]["oneOf"]}
    for name, kind in (("scan", "string"), ("remark", ["string", "null"])):
        described = tensors[name]["properties"]
        assert (described["datatype"]["enum"], described["data"]["items"]["type"]) == (["BYTES"], kind)
    content = struct.pack("<I", len(png(51))) + png(51)
    tensor = {"name": "scan", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(content)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    length = {"inference-header-content-length": str(len(head))}
    answer = album.client.post("/v2/models/album/infer", content=head + content, headers=length)
    assert answer.json()["outputs"][0]["data"] == pytest.approx([0.2], abs=1e-6)
