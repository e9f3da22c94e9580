"""docs/rest.md tells the truth: its requests, posted to a real server, get answers of the shape that it shows."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "rest.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```http\n(\w+) (\S+)\n(.*?)```\n```json\n(.*?)```", PAGE, re.DOTALL)


def shape(value: Any) -> Any:
    """`value` with its numbers and digests made alike."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, float):
        return 0.0
    return re.sub(r"sha256:[0-9a-f.]+", "sha256:", value) if isinstance(value, str) else value


def shown(value: Any, example: Any) -> Any:
    """The part of `value` that the example shows of it."""
    if isinstance(value, dict) and isinstance(example, dict):
        return {key: shown(item, example[key]) for key, item in value.items() if key in example}
    if isinstance(value, list) and isinstance(example, list):
        return [shown(item, of) for item, of in zip(value, example, strict=True)]
    return value


def test_every_request_of_the_page_has_its_answer_beside_it():
    assert len(EXAMPLES) == PAGE.count("```http") == PAGE.count("```json") >= 6


@pytest.mark.parametrize(("method", "path", "body", "expected"), EXAMPLES)
def test_an_example_is_answered_as_shown(flights, method, path, body, expected):
    answer = flights.client.request(method, path, content=body.strip().encode()).json()
    example = json.loads(expected)
    assert shape(shown(answer, example)) == shape(example)


def test_every_status_of_the_openapi_document_is_in_the_table_of_errors(flights):
    paths = flights.client.get("/openapi.json").json()["paths"]
    codes = {code for path in paths.values() for operation in path.values() for code in operation["responses"]}
    listed = set(re.findall(r"^\| (\d{3}) \|", PAGE, re.MULTILINE))
    assert codes - {"200"} <= listed
