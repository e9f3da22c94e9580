"""The test cluster itself: it is there, and nothing of it stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
BOUND = """
import sys, time
from pathlib import Path
from cluster.control_plane import ControlPlane
ControlPlane(Path(sys.argv[1]), bound=True).start([])
print("up", flush=True)
time.sleep(600)
"""


def of(folder):
    """The processes that have the folder in their command line, environment or working directory."""
    found = {}
    for process in psutil.process_iter():
        try:
            places = [*process.cmdline(), process.cwd(), *process.environ().values()]
        except (psutil.Error, FileNotFoundError):
            continue
        if process.pid != os.getpid() and any(str(folder) in place for place in places):
            found[process.pid] = process.name()
    return found


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, "PYTHONPATH": str(CHECKOUT / "tools"), "PENSTOCK_HOME": str(tmp_path / "home")}


def test_up_leaves_a_cluster_that_answers_and_down_leaves_nothing(environment, tmp_path):
    def cluster(command):
        call = [sys.executable, "-m", "cluster", *command.split()]
        return subprocess.run(call, env=environment, capture_output=True, text=True, check=False)

    up = cluster("up kwok")
    try:
        assert up.returncode == 0, up.stderr
        components = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}
        assert components <= {Path(psutil.Process(pid).cmdline()[0]).name for pid in of(tmp_path)}
        listening = {
            connection.laddr.ip
            for pid in of(tmp_path)
            for connection in psutil.Process(pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        assert "there is a cluster" in cluster("up kwok").stderr
    finally:
        assert cluster("down").returncode == 0
    assert of(tmp_path) == {}
    assert not (tmp_path / "home" / "cluster").exists()


def test_one_that_is_bound_to_a_process_dies_with_it_even_when_that_is_killed(environment, tmp_path):
    call = [sys.executable, "-c", BOUND, str(tmp_path / "bound")]
    with subprocess.Popen(call, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "up\n"
        assert len(of(tmp_path)) > 5
        holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while (left := of(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == {}
