"""Taking leave: who is told to end waits for a checkpoint where its loss would cost one, and for nobody who is gone."""

import json
import signal
import socket
import time

import pytest

from penstock_trainer.membership import Member
from penstock_trainer.notices import ANSWER, Notices

from ._processes import read_until

SERVES = """
import sys, signal
from pathlib import Path
from penstock_trainer.membership import Member
from penstock_trainer.notices import Notices
notices = Notices(Path(sys.argv[1]), Member.of_this_process())
notices.listen()
print(notices.folder, flush=True)
while True:
    signal.pause()
"""
GRACE = {"PENSTOCK_GRACE_SECONDS": "3600"}


@pytest.fixture
def chief():
    """A member that leads, at an address that answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        yield Member("chief", 0, {"chief": [address], "ps": ["127.0.0.1:1"], "worker": ["127.0.0.1:2"]}), listening


def told(start, root, member, role):
    """A process of another role of its cluster that has just been told to end."""
    config = {"cluster": dict(member.cluster), "task": {"type": role, "index": 0}}
    process = start("-c", SERVES, root, environment={"TF_CONFIG": json.dumps(config), **GRACE})
    read_until(process, ".notices")
    process.send_signal(signal.SIGTERM)
    return process


def noticed(notices):
    """Whom the leader hears of, once it hears of somebody."""
    deadline = time.monotonic() + 60
    while not (found := notices.to_heed()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_a_parameter_server_that_is_told_to_end_stays_until_the_leader_has_written_its_checkpoint(
    start, tmp_path, chief
):
    member, _ = chief
    notices = Notices(tmp_path, member)
    with notices.heeded():
        process = told(start, tmp_path, member, "ps")
        assert noticed(notices) == ["ps-0"]
        assert process.poll() is None
        notices.answer()
        assert process.wait(60) == 143


def test_it_does_not_stay_for_a_leader_that_is_gone(start, tmp_path, chief):
    member, listening = chief
    notices = Notices(tmp_path, member)
    with notices.heeded():  # the folder of a leader that was killed is left behind
        listening.close()
        assert told(start, tmp_path, member, "ps").wait(60) == 143
        assert not (notices.folder / ANSWER).exists()


def test_a_worker_beside_parameter_servers_leaves_at_once_and_no_checkpoint_is_asked_for(start, tmp_path, chief):
    member, _ = chief
    notices = Notices(tmp_path, member)
    with notices.heeded():
        assert told(start, tmp_path, member, "worker").wait(60) == 143
        assert notices.to_heed() == []
