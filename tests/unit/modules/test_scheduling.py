"""Who gives way to whom on the machine that deploys and serves."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, subprocess, sys
from penstock.local import scheduling

def say(pid):
    print(os.sched_getscheduler(pid), *sorted(os.sched_getaffinity(pid)), sep=",")

say(0)
scheduling.give_way()
say(0)
server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
say(server.pid)
scheduling.as_any_other(server.pid)
say(server.pid)
server.communicate(b"\\n")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's policies")
def test_a_deployment_gives_way_and_what_it_starts_does_not():
    said = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout
    other, batch = 0, 3  # sched(7)
    before, *after = [[*map(int, line.split(","))] for line in said.split()]
    every = sorted(os.sched_getaffinity(0))
    assert before == [other, *every]
    assert after == [[batch, *(every[1:] or every)], [batch, *(every[1:] or every)], before]
