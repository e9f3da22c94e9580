"""Who gives way to whom on the machine that deploys and serves."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, subprocess, sys
from penstock.local import scheduling

before = os.sched_getscheduler(0)
scheduling.give_way()
server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
inherited = os.sched_getscheduler(server.pid)
scheduling.as_any_other(server.pid)
print(before, os.sched_getscheduler(0), inherited, os.sched_getscheduler(server.pid))
server.communicate(b"\\n")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's policies")
def test_a_deployment_gives_way_and_what_it_starts_does_not():
    said = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout
    other, batch = 0, 3  # sched(7)
    assert [int(each) for each in said.split()] == [other, batch, batch, other]
