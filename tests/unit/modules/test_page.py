import os
import signal
import sys

import pytest

from penstock.errors import ServiceFailed
from penstock.local import page, ports, server
from penstock.local.identity import ProcessIdentity

# It is meant to outlive whoever started it.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

SERVER = """
import http.server, sys
value = lambda name: sys.argv[sys.argv.index(name) + 1]
http.server.HTTPServer((value("--host"), int(value("--port"))), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def props(tmp_path):
    """What the program asks for; numbers as the engine hands them over."""
    asked = {
        "name": "curves", "urn": "", "command": [sys.executable, "-c", SERVER], "host": "127.0.0.1", "probe": "/",
        "port": float(ports.free_ports("127.0.0.1", 1)[0]), "fingerprint": "f", "cwd": str(tmp_path),
        "log": str(tmp_path / "log"), "record": str(tmp_path / "services" / "curves.json"),
    }  # fmt: skip
    yield asked
    left = server.recorded(tmp_path / "services" / "curves.json")
    if left is not None:
        left.end(grace_seconds=5)


def alive(outs):
    return ProcessIdentity(outs["pid"], outs["started"]).alive()


def test_a_page_answers_when_it_is_made_and_its_port_is_free_when_it_is_gone(props):
    provider = page.LocalPageProvider()
    outs = provider.create(props).outs
    assert outs is not None
    assert server.Address("127.0.0.1", int(props["port"]), "/").ready(timeout_seconds=5)
    assert not provider.diff("curves", outs, props).changes
    provider.delete("curves", outs)
    assert not alive(outs)
    assert ports.is_free("127.0.0.1", int(props["port"]))


def test_a_page_that_died_is_a_difference_and_started_again(props):
    provider = page.LocalPageProvider()
    outs = provider.create(props).outs
    assert outs is not None
    os.kill(outs["pid"], signal.SIGKILL)
    os.waitpid(outs["pid"], 0)
    assert provider.diff("curves", outs, props).changes
    again = provider.update("curves", outs, props).outs
    assert again is not None
    assert again["pid"] != outs["pid"]
    assert alive(again)


def test_a_page_that_does_not_start_says_why_and_leaves_nothing(props):
    refusing = {**props, "command": [sys.executable, "-c", "import sys; sys.exit('error: no curves here')"]}
    with pytest.raises(ServiceFailed, match="no curves here"):
        page.LocalPageProvider().create(refusing)
    assert server.recorded(props["record"]) is None
