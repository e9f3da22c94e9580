"""`make notebook`, as it is typed: who may come in, and from where."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import CHECKOUT, free_port, listens

START_SECONDS = 300
"""The first time the environment is made."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[tuple[psutil.Process, str, str]]:
    """The process that serves, its address and its token, with a configuration of the test's own."""
    folder = tmp_path_factory.mktemp("lab")
    own = {"open_browser": False, "port": free_port(), "allow_root": True}
    (folder / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": own}))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    places = dict.fromkeys(("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"), str(folder))
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            ["make", "notebook"],
            cwd=CHECKOUT,
            env={**kept, **places},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        address, token = _address(process, folder / "said")
        (server,) = [each for each in psutil.Process(process.pid).children() if "jupyterlab" in each.cmdline()]
        yield server, address, token
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _address(process: "subprocess.Popen[bytes]", said: Path) -> tuple[str, str]:
    """The address that the server says, once it listens there: it says it before."""
    deadline = time.monotonic() + START_SECONDS
    while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/lab\?token=(\w+)", said.read_text())) or not listens(
        int(found[1])
    ):
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.2)
    return f"http://127.0.0.1:{found[1]}", found[2]


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code


def test_the_lab_is_on_the_loopback_address_and_lets_nobody_in_without_its_token(lab):
    """docs/notebooks.md says so."""
    server, address, token = lab
    contents = f"{address}/api/contents"
    assert status(contents) == status(f"{contents}?token={'0' * len(token)}") == 403
    assert len(token) >= 32
    with urllib.request.urlopen(f"{contents}?token={token}", timeout=30) as answer:
        assert "flights.ipynb" in [each["name"] for each in json.load(answer)["content"]]
    listening = {each.laddr.ip for each in server.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
