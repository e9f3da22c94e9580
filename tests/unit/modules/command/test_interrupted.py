import getpass
import json
import os
import socket
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest

from penstock.command import interrupted
from penstock.command.interrupted import StackLocked


@pytest.fixture
def lock(tmp_path):
    """Takes the lock of stack `local` in the backend `tmp_path`, as the engine does."""

    def take(**owner):
        file = tmp_path / ".pulumi/locks/organization/penstock/local/1.json"
        file.parent.mkdir(parents=True)
        now = datetime.now(timezone.utc).isoformat().replace("+00:00", "123Z")
        default = {"pid": gone_pid(), "username": getpass.getuser(), "hostname": socket.gethostname(), "timestamp": now}
        file.write_text(json.dumps(default | owner))
        return file

    return take


def gone_pid():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_the_lock_of_a_process_that_is_gone_is_released(lock, tmp_path):
    file = lock()
    (who,) = interrupted.release_lock(tmp_path, "local")
    assert not file.exists()
    assert f"of {getpass.getuser()} on {socket.gethostname()}" in who


def test_the_lock_of_a_process_that_runs_is_respected_and_told(lock, tmp_path):
    file = lock(pid=os.getpid())
    with pytest.raises(StackLocked, match=rf"in use by pid {os.getpid()} .*`pulumi cancel -s local`"):
        interrupted.release_lock(tmp_path, "local")
    assert file.exists()


def test_the_lock_of_a_pid_that_has_been_given_to_a_later_process_is_released(lock, tmp_path):
    before = (datetime.now(timezone.utc) - timedelta(days=3)).isoformat().replace("+00:00", "000Z")
    file = lock(pid=os.getpid(), timestamp=before)
    interrupted.release_lock(tmp_path, "local")
    assert not file.exists()


@pytest.mark.parametrize("owner", [{"hostname": "elsewhere"}, {"username": "somebody-else"}])
def test_the_lock_of_another_machine_or_user_is_respected(lock, tmp_path, owner):
    file = lock(**owner)
    with pytest.raises(StackLocked):
        interrupted.release_lock(tmp_path, "local")
    assert file.exists()


def test_pending_operations_are_taken_out_and_named():
    urn = "urn:pulumi:local::penstock::a$b::flow-train-model"
    deployment = {"resources": [], "pending_operations": [{"resource": {"urn": urn}, "type": "creating"}]}
    assert interrupted.forget_pending(deployment) == ["flow-train-model"]
    assert deployment == {"resources": []}
