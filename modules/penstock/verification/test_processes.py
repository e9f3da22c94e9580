# pyright: basic
"""An endpoint's processes on the machine that it serves on."""

import pytest

SUPERVISOR, WORKER, STAGE = "-m penstock_serving.supervisor", "-m penstock_serving.worker", "-m penstock_trainer"
SUPERVISOR_KIB = 32_000
"""The supervisor imports only the standard library; more than this, and it has grown."""


@pytest.fixture(scope="module")
def supervisor(target, host):
    """The process that keeps the port."""
    found = [each for each in host.process.filter() if each.pid == target.pid]
    assert found, f"the supervisor, pid {target.pid}, is not there"
    return found[0]


def test_the_supervisor_of_the_stack_s_port_runs(target, supervisor):
    assert SUPERVISOR in supervisor.args
    assert f"--port {target.port}" in supervisor.args


def test_there_are_as_many_workers_as_the_range_says(target, supervisor, host):
    workers = [each for each in host.process.filter(ppid=supervisor.pid) if WORKER in each.args]
    (allowed,) = target.ranges.values()
    assert allowed.lowest <= len(workers) <= allowed.highest


def test_the_supervisor_is_small(supervisor):
    assert supervisor.rss < SUPERVISOR_KIB


def test_no_stage_is_left_running(target, host):
    """The page of the curves (`curves`) is no stage."""
    stages = [each.args for each in host.process.filter() if STAGE in each.args]
    own = [args for args in stages if any(store in args for store in target.stages)]
    assert [args for args in own if f"{STAGE} curves" not in args] == []


def test_the_port_is_open_on_the_loopback_address_only(target, host):
    assert host.socket(f"tcp://127.0.0.1:{target.port}").is_listening
    assert not host.socket(f"tcp://0.0.0.0:{target.port}").is_listening
    assert not host.socket(f"tcp://:::{target.port}").is_listening


def test_the_server_knows_nothing_of_the_stack_s_passphrase(supervisor, host):
    environment = host.file(f"/proc/{supervisor.pid}/environ")
    if not environment.exists:
        pytest.skip("this system does not show a process's environment as a file")
    assert b"PULUMI" not in environment.content
