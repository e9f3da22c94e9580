"""Checkpoints: what is torn, foreign or does not fit on the disk costs the newest state, never the training."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from penstock_trainer.checkpoints import Checkpoints
from penstock_trainer.errors import InputError

RUN = {"problem": "flights", "key": "0123"}


def made(folder, value, run=RUN):
    variable = tf.Variable(tf.fill([100], value))
    return variable, Checkpoints(folder, [variable], run)


def test_the_newest_checkpoint_is_restored_with_its_counts_and_two_are_kept(tmp_path):
    variable, checkpoints = made(tmp_path, 1.0)
    for number in range(1, 5):
        variable.assign([float(number)] * 100)
        checkpoints.save({"trained": number}, {})
    other, again = made(tmp_path, 0.0)
    manifest = again.restore()
    assert manifest is not None
    assert (manifest.counts["trained"], other.numpy()[0]) == (4, 4.0)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["000003", "000004"]


@pytest.mark.parametrize("what", ["cut short", "changed", "without its seal", "half written"])
def test_a_torn_checkpoint_is_passed_over_for_the_one_before(tmp_path, capsys, what):
    variable, checkpoints = made(tmp_path, 1.0)
    checkpoints.save({"trained": 1}, {})
    variable.assign([2.0] * 100)
    newest = checkpoints.save({"trained": 2}, {})
    assert newest is not None
    (data,) = newest.glob("variables.data*")
    if what == "cut short":
        data.write_bytes(data.read_bytes()[:-1])
    elif what == "changed":
        data.write_bytes(b"\1" + data.read_bytes()[1:])
    elif what == "without its seal":
        (newest / "manifest.json").unlink()
    else:
        newest.rename(newest.with_name(".000002"))
    other, again = made(tmp_path, 0.0)
    manifest = again.restore()
    assert manifest is not None
    assert (manifest.counts["trained"], other.numpy()[0]) == (1, 1.0)
    assert ("checkpoint 000002 is passed over" in capsys.readouterr().out) == (what != "half written")


def test_a_checkpoint_of_another_problem_is_refused_by_name(tmp_path):
    made(tmp_path, 1.0, {"problem": "ratings", "key": "4567"})[1].save({}, {})
    with pytest.raises(InputError, match=r"000001 is a checkpoint of .*'ratings'.*; this run trains .*'flights'"):
        made(tmp_path, 0.0)[1].restore()


def test_a_full_disk_is_said_and_the_checkpoint_before_stays(tmp_path, capsys):
    _, checkpoints = made(tmp_path, 1.0)
    checkpoints.save({"trained": 1}, {})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    try:
        assert checkpoints.save({"trained": 2}, {}) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "checkpoint 2 could not be written, the one before stays" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["000001"]
    assert checkpoints.save({"trained": 3}, {}) is not None


def test_shards_are_balanced_and_any_number_of_servers_or_none_reads_what_two_wrote(dataset, tmp_path):
    def run(servers, action):
        script = Path(__file__).with_name("_shards.py")
        command = [sys.executable, script, dataset.path, tmp_path, str(servers), action]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    written, three, alone = run(2, "train"), run(3, "restore"), run(0, "alone")
    for found, servers in ((written, 2), (three, 3)):
        large = [size for device, size in found["bytes"].items() if "job:ps" in device]
        assert len(large) == servers
        assert max(large) < 1.1 * min(large)
        assert found["bytes"]["/job:chief/replica:0/task:0"] < min(large)  # small ones, of which workers have copies
        assert found["sharded"] > 10  # variables, and the optimizer's slots of them
        assert found["sums"] == pytest.approx(written["sums"], rel=1e-6)
    assert alone["sums"] == pytest.approx(written["sums"], rel=1e-6)
