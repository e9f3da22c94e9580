"""Real nodes leave no trace on the machine, however they end."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster import control_groups, kubelets

from tests.cluster.test_cluster import CHECKOUT, of

HOLDER = """
import sys, time
from pathlib import Path
from cluster.control_plane import ControlPlane
plane = ControlPlane(Path(sys.argv[1]), bound=True)
plane.start([], kubelets=1)
print("up", flush=True)
if sys.argv[2] == "stop":
    plane.stop()
else:
    time.sleep(600)
"""


def trace(folder):
    """What there is of a cluster besides its processes: mounts, network interfaces, named by it or by nobody else."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    return mounts, [name for _, name in socket.if_nameindex() if name.startswith(("br0", "node", "veth"))]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_nothing_of_them_stays_when_they_are_ended_or_their_holder_is_killed(tmp_path, end):
    if why := kubelets.missing():
        pytest.skip(why)
    folder = tmp_path / "cluster"
    before = trace(folder)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "tools")}
    call = [sys.executable, "-c", HOLDER, str(folder), end]
    with subprocess.Popen(call, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "up\n"
        assert {"kubelet", "containerd"} <= set(of(folder).values()) or end == "stop"
        if end == "kill":
            holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while (left := of(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == {}
    assert trace(folder) == before
    found = control_groups.of(control_groups.group(folder))
    assert bool(found) == (end == "kill"), "who was killed removes none, who stops them all"
    # Whoever starts or stops a cluster next removes those in which nobody is; the last process may be ending still.
    control_groups.sweep()
    while control_groups.left() and time.monotonic() < deadline:
        control_groups.sweep()
    assert control_groups.left() == []
    assert folder.exists() == (end == "kill")


def test_what_the_machine_lacks_for_them_is_told(monkeypatch, tmp_path):
    with monkeypatch.context() as unprivileged:
        unprivileged.setattr("os.geteuid", lambda: 1000)
        assert "need root" in kubelets.missing()
    with monkeypatch.context() as below:
        below.setattr(kubelets, "PROJECT", Path("/tmp/checkout"))
        assert "do not see this checkout, /tmp/checkout" in kubelets.missing()
    with monkeypatch.context() as second:
        second.setattr(control_groups, "HIERARCHIES", tmp_path)
        assert "need control groups of version 1; there is no cpu" in control_groups.missing()
    with monkeypatch.context() as bare:
        bare.setenv("PATH", str(tmp_path))
        assert "need unshare, nsenter, ip" in kubelets.missing()
