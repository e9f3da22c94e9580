"""The pack's process does not outlive the engine that it answers."""

import socket
import subprocess
import sys
import time
from pathlib import Path

POLICIES = Path(__file__).resolve().parents[3] / "policies"
WAITING = "import sys, time; from penstock_policies import engine; engine.end_with(sys.argv[1]); time.sleep(60)"


def test_the_pack_ends_when_the_engine_does_and_not_before():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = "{}:{}".format(*listening.getsockname())
        started = subprocess.Popen([sys.executable, "-c", WAITING, address], cwd=POLICIES)
        time.sleep(3)
        assert started.poll() is None
    assert started.wait(timeout=10) == 1
