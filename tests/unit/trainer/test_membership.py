"""Who is in a cluster, what goes together, and who waits for whom."""

import json
import socket
import threading
import time

import pytest

from penstock_trainer import clusters
from penstock_trainer.__main__ import main
from penstock_trainer.errors import InputError
from penstock_trainer.membership import Member, Unreachable

ALL = {"chief": ["c:1"], "ps": ["p:1", "p:2"], "worker": ["w:1"]}
LOCKSTEP = {"chief": ["c:1"], "worker": ["w:1"]}


@pytest.mark.parametrize(
    ("strategy", "cluster", "reason"),
    [
        ("tpu", ALL, "parameter servers .* would have nothing to do"),
        ("mirrored", ALL, "parameter servers .* would have nothing to do"),
        ("multiworker", ALL, "parameter servers .* would have nothing to do"),
        ("mirrored", LOCKSTEP, "trains in one process; TF_CONFIG names a cluster of chief, worker"),
        ("local", LOCKSTEP, "trains in one process"),
        ("tpu", LOCKSTEP, "driven by one process, which reaches all hosts"),
        ("multiworker", {}, "needs a TF_CONFIG whose cluster has at least two members"),
        ("multiworker", {"chief": ["c:1"]}, "at least two members"),
        ("parameter-server", {}, "needs a TF_CONFIG whose cluster has chief, ps and worker; it has none of them"),
        ("parameter-server", LOCKSTEP, "it has chief, worker"),
        ("horovod", {}, "strategy is 'horovod'; use one of local, mirrored"),
    ],
)
def test_a_pairing_that_cannot_work_is_refused_with_the_reason(strategy, cluster, reason):
    with pytest.raises(InputError, match=reason):
        clusters.check(strategy, cluster)


@pytest.mark.parametrize(
    ("strategy", "cluster"), [("local", {}), ("mirrored", {}), ("multiworker", LOCKSTEP), ("parameter-server", ALL)]
)
def test_a_pairing_that_works_is_not_refused(strategy, cluster):
    clusters.check(strategy, cluster)


def test_without_a_tpu_the_strategy_tpu_says_so():
    with pytest.raises(InputError, match="this host has no TPU"):
        clusters.connect("tpu", Member("chief", 0, {}))


def test_the_one_who_waits_says_for_whom_and_goes_on_when_all_are_there(capsys):
    here, late = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (here, late)]
    late.close()
    chief = Member("chief", 0, {"chief": ["127.0.0.1:1"], "ps": addresses})
    again = []
    port = int(addresses[1].rpartition(":")[2])
    opening = threading.Timer(0.6, lambda: again.append(socket.create_server(("127.0.0.1", port))))
    opening.start()
    began = time.monotonic()
    chief.wait_for(("ps", "worker"))
    assert time.monotonic() - began > 0.5
    assert capsys.readouterr().out == f"chief-0 waits for ps-1 ({addresses[1]})\n"
    with pytest.raises(Unreachable, match=r"chief-0 waited \d+ s for worker-0 \(127.0.0.1:1\): no answer"):
        Member("chief", 0, {"worker": ["127.0.0.1:1"]}).wait_for(["worker"], patience=0.1)
    for each in (here, *again):
        each.close()


@pytest.mark.parametrize(
    ("strategy", "others"), [("multiworker", {"worker": 1}), ("parameter-server", {"ps": 2, "worker": 1})]
)
def test_a_training_whose_members_never_come_says_so_in_one_line_and_blames_no_input(
    strategy, others, dataset, tmp_path, monkeypatch, capsys
):
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = f"127.0.0.1:{free.getsockname()[1]}"
    cluster = {"chief": [own], **{role: ["127.0.0.1:1"] * count for role, count in others.items()}}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "chief", "index": 0}}))
    monkeypatch.setenv("GRPC_FAIL_FAST", "")  # set by the training, so put back after it
    monkeypatch.setattr(Member.wait_for, "__defaults__", (0.3,))
    flags = ["--problem", "flights", "--dataset", dataset.path, "--artifacts", str(tmp_path)]
    assert main(["train", *flags, "--strategy", strategy]) == 1
    names = ", ".join(f"{role}-{index} (127.0.0.1:1)" for role, count in others.items() for index in range(count))
    assert capsys.readouterr().err == f"error: chief-0 waited 0 s for {names}: no answer\n"


def test_a_task_that_its_cluster_does_not_have_is_named(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": ALL, "task": {"type": "ps", "index": 2}}))
    with pytest.raises(InputError, match="the task is ps 2, its cluster has 1 chief, 2 ps, 1 worker"):
        Member.of_this_process()
    monkeypatch.setenv("TF_CONFIG", "{")
    with pytest.raises(InputError, match="TF_CONFIG is not JSON"):
        Member.of_this_process()
