"""The OpenAPI document of one served model: its own columns, with a sample row as the example."""

from typing import Any

from penstock_serving.bodies import BODY_LIMIT
from penstock_serving.inference_protocol import BYTES, NUMBERS
from penstock_serving.schema import (
    LARGEST_INTEGER,
    LARGEST_NUMBER,
    OUTPUT,
    SIGNATURE,
    STRINGS,
    Column,
    ColumnType,
    Schema,
)
from penstock_serving.served import ServedModel

BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
PICTURE = "A picture in PNG, JPEG, GIF or BMP."
MOMENT = "A moment in ISO 8601, UTC where it names no zone; the time may be left out."
ENCODED: dict[str, Any] = {"type": "string", "contentEncoding": "base64", "minLength": 1, "pattern": BASE64}
ERRORS = {
    "400": "The body does not fit the model's columns; the message names the column, the row and the value.",
    "401": "The server wants a bearer token, which the request lacks.",
    "404": "No such model, version or route.",
    "405": "The route exists for other methods, which the header `Allow` names.",
    "408": "The request did not arrive in time.",
    "413": f"The body is larger than {BODY_LIMIT} bytes, or would be when unpacked.",
    "415": "The body is compressed in another way than gzip.",
    "429": "Too many rows wait for the model; come back after `Retry-After` seconds.",
    "431": "The headers are larger than the server reads.",
    "503": "The server stops, cannot load its model or is full; come back after `Retry-After` seconds.",
    "504": "The model did not answer in time.",
}


PROBES = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")


def openapi(served: ServedModel, secured: bool = False) -> dict[str, Any]:
    """The document, OpenAPI 3.1; `secured`: all but the probes want a bearer token."""
    schema = served.sealed.schema
    row = served.sealed.samples["instances"][0]
    answer = served.sealed.samples["predictions"][0]
    base, v2 = f"/v1/models/{served.name}", f"/v2/models/{served.name}"
    properties = {column.name: _value(column) for column in schema.columns}
    ignored = {name: {"description": "Carried along, not read."} for name in schema.ignored}
    required = [column.name for column in schema.columns if column.required]
    in_columns = {name: {"type": "array", "items": value, "minItems": 1} for name, value in properties.items()}
    predict = _predict(schema, {"instances": [row]}, {"predictions": [answer]})
    operations = {
        f"{base}:predict": {"post": predict},
        f"{base}/versions/{served.version}:predict": {"post": {**predict, "operationId": "predictVersion"}},
        base: {"get": _get("status", "State of the model's versions")},
        f"{v2}/infer": {"post": _infer(served)},
        v2: {"get": _get("tensors", "The model's tensors, for clients of the Open Inference Protocol")},
        f"{v2}/ready": {"get": _ready("modelReadiness")},
        "/v2": {"get": _get("server", "What the server speaks")},
        "/v2/health/live": {"get": _get("live", "The process is alive")},
        "/v2/health/ready": {"get": _ready("ready")},
        f"{base}/metadata": {"get": _get("metadata", "Signature of the model")},
        f"{base}/attestation": {"get": _get("attestation", "Digest of the model and the chain back to the raw files")},
        f"{base}/traffic": {"get": _get("traffic", "Which version answers how much of the traffic, and why")},
        f"{base}/skew": {"get": _get("skew", "What arrives, beside what the model was trained on")},
        "/healthz": {"get": _get("health", "The process is alive")},
        "/readyz": {"get": _ready("readiness")},
        "/metrics": {"get": _get("metrics", "Counts and latencies for Prometheus", "text/plain")},
        "/openapi.json": {"get": _get("openapi", "This document")},
        "/": {"get": _get("console", "A page to try the model", "text/html")},
    }
    components: dict[str, Any] = {
        "schemas": {
            "Row": {
                "type": "object",
                "properties": properties | ignored,
                "required": required,
                "additionalProperties": False,
                "examples": [row],
            },
            "Columns": {
                "type": "object",
                "description": "One array a column, all of one length.",
                "properties": in_columns | ignored,
                "required": required,
                "additionalProperties": False,
            },
            "PredictRequest": {"oneOf": [_request("instances", _rows()), _request("inputs", _ref("Columns"))]},
            "Error": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]},
        }
    }
    if secured:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, methods in operations.items():
            for operation in methods.values():
                operation["security"] = [] if path in PROBES else [{"token": []}]
                operation["responses"] |= {} if path in PROBES else _responses("401")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": served.name,
            "version": served.version,
            "description": f"Predicts `{schema.label}` ({schema.head}). Model {served.sealed.digest}.",
        },
        "paths": operations,
        "components": components,
    }


def _value(column: Column) -> dict[str, Any]:
    """The JSON schema of one value of `column`."""
    if column.type is ColumnType.IMAGE:
        value: dict[str, Any] = {
            "type": "object",
            "description": PICTURE,
            "properties": {"b64": ENCODED},
            "required": ["b64"],
            "additionalProperties": False,
        }
    elif column.type is ColumnType.TIMESTAMP:
        value = {"type": "string", "format": "date-time", "description": MOMENT}
    elif column.type in STRINGS:
        value = {"type": "string"}
    else:
        largest = LARGEST_INTEGER if column.type is ColumnType.INTEGER else LARGEST_NUMBER
        value = {"type": column.type.value, "minimum": -largest, "maximum": largest}
    return _nullable(column, value)


def _tensor_value(column: Column) -> dict[str, Any]:
    """The same in a tensor of the Open Inference Protocol, where a picture is a string."""
    if column.type is ColumnType.IMAGE:
        return _nullable(column, ENCODED | {"description": PICTURE})
    return _value(column)


def _nullable(column: Column, value: dict[str, Any]) -> dict[str, Any]:
    return value if column.required else value | {"type": [value["type"], "null"]}


def _rows() -> dict[str, Any]:
    return {"type": "array", "items": _ref("Row"), "minItems": 1}


def _request(key: str, value: dict[str, Any]) -> dict[str, Any]:
    properties = {key: value, "signature_name": {"const": SIGNATURE}}
    return {"type": "object", "properties": properties, "required": [key], "additionalProperties": False}


def _predict(schema: Schema, request: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    # What is no finite number, as a model of one's own making may answer, has no other word in JSON.
    one: dict[str, Any] = {"type": ["number", "null"]}
    if size := len(schema.classes):
        classes = f"The probabilities of {', '.join(schema.classes)}."
        one = {"type": "array", "items": one, "minItems": size, "maxItems": size, "description": classes}
    numbers = {"type": "array", "items": one}
    forms = [{"type": "object", "properties": {key: numbers}, "required": [key]} for key in (OUTPUT, "outputs")]
    success = {
        "description": "One prediction a row: `predictions` to `instances`, `outputs` to `inputs`.",
        "headers": {
            "x-model-digest": {"description": "Digest of the model that answered.", "schema": {"type": "string"}}
        },
        "content": {"application/json": {"schema": {"oneOf": forms}, "example": answer}},
    }
    return {
        "operationId": "predict",
        "summary": f"Predict {schema.label} for raw rows",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("PredictRequest"), "example": request}},
        },
        "responses": {"200": success} | _responses("400", "408", "413", "415", "429", "431", "503", "504"),
    }


def _infer(served: ServedModel) -> dict[str, Any]:
    """The Open Inference Protocol's request, with the model's tensors."""
    schema = served.sealed.schema
    shape = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2}
    tensors = [
        {
            "type": "object",
            "properties": {
                "name": {"const": column.name},
                "datatype": {"enum": [BYTES] if column.type in STRINGS else [*NUMBERS]},
                "shape": shape,
                "data": {"type": "array", "items": _tensor_value(column), "minItems": 1},
            },
            "required": ["name", "datatype", "shape", "data"],
        }
        for column in schema.columns
    ]
    properties = {"id": {"type": "string"}, "inputs": {"type": "array", "items": {"oneOf": tensors}, "minItems": 1}}
    body = {"type": "object", "properties": properties, "required": ["inputs"]}
    success = {"description": "The tensor `predictions`, one value a row.", "content": {"application/json": {}}}
    return {
        "operationId": "infer",
        "summary": f"Predict {schema.label} by the Open Inference Protocol",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": success} | _responses("400", "408", "413", "415", "429", "431", "503", "504"),
    }


def _ready(operation: str) -> dict[str, Any]:
    return _get(operation, "The model is loaded and answers") | {"responses": _responses("200", "503")}


def _get(operation: str, summary: str, content_type: str = "application/json") -> dict[str, Any]:
    success = {"description": summary, "content": {content_type: {}}}
    return {"operationId": operation, "summary": summary, "responses": {"200": success}}


def _responses(*codes: str) -> dict[str, Any]:
    """The documented answers of these codes, all of them but 200 errors."""
    content = {"application/json": {"schema": _ref("Error")}}
    return {
        code: {"description": ERRORS[code], "content": content} if code in ERRORS else {"description": "OK"}
        for code in codes
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
