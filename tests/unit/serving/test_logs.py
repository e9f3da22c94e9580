"""Log lines."""

import json
import logging
import sys

from penstock_serving.logs import JsonFormatter


def test_an_exception_is_logged_by_type_and_frames_without_its_message():
    try:
        raise ValueError("a person's value")
    except ValueError:
        record = logging.LogRecord("server", logging.ERROR, "", 0, "request failed", None, sys.exc_info())
    record.fields = {"route": "predict"}
    text = JsonFormatter().format(record)
    line = json.loads(text)
    assert (line["level"], line["event"], line["route"]) == ("error", "request failed", "predict")
    assert line["exception"] == "ValueError"
    assert "test_logs.py" in line["frames"][0]
    assert "person" not in text
