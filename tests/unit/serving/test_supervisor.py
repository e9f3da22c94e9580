"""The supervisor, with workers whose part the test plays."""

import errno
import itertools
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock_serving import pool
from penstock_serving import supervisor as module
from penstock_serving.link import Link
from penstock_serving.supervisor import Supervisor
from penstock_serving.tally import Tally
from penstock_trainer.errors import InputError

ROLLOUT = {"steps": [50, 100], "step_seconds": 0, "step_requests": 20}


class Played:
    """A process that is none: the test says what it says."""

    pids = itertools.count(1_000_000_000)

    def __init__(self, _command: Any, pass_fds: tuple[int, ...], **_: Any) -> None:
        self.link = Link(socket.socket(fileno=os.dup(pass_fds[1])))
        self.pid = next(self.pids)
        self.returncode: int | None = None
        self.signals: list[int] = []
        self.killed = False
        self.told: list[dict[str, Any]] = []

    def poll(self) -> int | None:
        """The exit code, once there is one."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        """As a process that is still loading: it ends."""
        self.signals.append(number)
        self.leave()

    def leave(self, code: int = 0) -> None:
        """End, well or not."""
        self.returncode = code
        self.link.close()

    def kill(self) -> None:
        """As the kernel does it."""
        self.killed = True
        self.leave(-signal.SIGKILL)

    def wait(self) -> None:
        """It ends at once."""

    def hear(self) -> list[dict[str, Any]]:
        """All that it was told."""
        self.told += self.link.receive()
        return self.told

    def say(self, in_flight: int = 0, tallies: dict[str, Tally] | None = None, **message: Any) -> None:
        """A message, and a report that so many requests are in flight and what each version has answered."""
        metrics: dict[str, Any] = {"counts": {}, "sums": {}, "largest": {}}
        report = {"in_flight": in_flight, "predicted": 0, "connections": 0, "metrics": metrics}
        report["tallies"] = {version: tally.as_json() for version, tally in (tallies or {}).items()}
        for each in (message, {"report": report}):
            if each:
                self.link.send(each)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Played]:
    """Every worker that was started, in that order."""
    found: list[Played] = []

    def start(*arguments: Any, **options: Any) -> Played:
        found.append(Played(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(pool.subprocess, "Popen", start)
    return found


@pytest.fixture
def supervisor(tmp_path: Path, started: list[Played]) -> Iterator[Supervisor]:
    """One that follows `plan.json`; its workers are ended with it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        made = Supervisor(tmp_path / "plan.json", tmp_path, [listener], [])
        yield made
        for worker in started:
            if worker.returncode is None:
                worker.leave()
        made.end()


@pytest.fixture
def follow(tmp_path: Path, supervisor: Supervisor) -> Callable[..., None]:
    """Has the supervisor read a plan of versions 1 to 3."""

    def follow(revision: str, latest: str, highest: int = 2, rollout: dict[str, Any] | None = None) -> None:
        versions = {number: {"path": f"/{number}", "digest": f"sha256:{number}"} for number in ("1", "2", "3")}
        plan = {"revision": revision, "name": "m", "versions": versions, "latest": latest, "traffic": None}
        replicas = {"lowest": 1, "highest": highest}
        (tmp_path / "plan.json").write_text(json.dumps({**plan, "rollout": rollout, "replicas": replicas}))
        supervisor._reread = True  # what SIGHUP does
        supervisor.turn()

    return follow


def until(supervisor: Supervisor, reached: Callable[[], bool]) -> None:
    for _ in range(100):
        if reached():
            return
        supervisor.turn()
    raise AssertionError("not reached in a hundred turns")


def test_a_worker_that_loads_what_an_earlier_plan_needed_is_ended_and_never_directed_to_what_it_lacks(
    supervisor, follow, started
):
    follow("a", latest="1")
    (first,) = started
    first.say(ready={}, in_flight=1000)
    until(supervisor, lambda: len(started) == 2)
    second = started[1]
    assert list(second.hear()[0]["serve"]["versions"]) == ["1"]

    follow("b", latest="2")
    third = started[2]
    assert list(third.hear()[0]["serve"]["versions"]) == ["2"]
    third.say(ready={})
    until(supervisor, lambda: bool(second.signals))
    assert second.signals == [signal.SIGTERM]
    until(supervisor, lambda: len(started) == 4)
    assert list(started[3].hear()[0]["serve"]["versions"]) == ["2"]
    assert [message for message in second.told if "direct" in message] == []
    started[3].say(ready={})
    until(supervisor, lambda: any("drain" in message for message in first.hear()))


@pytest.mark.parametrize(
    ("status", "event", "needed"), [(500, "rolled back", ["1", "3"]), (200, "promoted", ["2", "3"])]
)
def test_what_became_of_a_rollout_while_the_next_version_loaded_is_not_undone(
    supervisor, follow, started, status, event, needed
):
    follow("a", latest="1", rollout=ROLLOUT)
    started[0].say(ready={})
    until(supervisor, lambda: supervisor._progress.stable == "1" and supervisor._plan is not None)
    follow("b", latest="2", rollout=ROLLOUT)
    started[1].say(ready={})
    until(supervisor, lambda: supervisor._progress.candidate == "2")

    follow("c", latest="3", rollout=ROLLOUT)
    assert list(started[2].hear()[0]["serve"]["versions"]) == ["1", "3"]
    did = Tally()
    for _ in range(30):
        did.answered(status, 0.001, [0.5] if status == 200 else None)
    started[1].say(tallies={"2": did})
    until(supervisor, lambda: supervisor._progress.events[-1]["event"] == event)
    started[2].say(ready={})
    until(supervisor, lambda: supervisor._tried is None or len(started) == 4)
    started[-1].say(ready={})  # a fourth one, where what the third has loaded is not what is needed by now
    until(supervisor, lambda: supervisor._progress.candidate == "3")
    assert list(started[-1].hear()[0]["serve"]["versions"]) == needed
    progress = supervisor._progress
    assert (progress.stable, progress.rejected) == (needed[0], ("2",) if event == "rolled back" else ())
    assert [(each["event"], each["version"]) for each in progress.events[-2:]] == [(event, "2"), ("begun", "3")]


def answering(supervisor: Supervisor, follow: Callable[..., None], started: list[Played]) -> Played:
    """The worker of a plan, as soon as it is ready."""
    follow("a", latest="1")
    started[-1].say(ready={})
    until(supervisor, lambda: bool(supervisor._current("ready")))
    return started[-1]


def test_a_version_under_which_workers_end_again_and_again_is_rolled_back(supervisor, follow, started):
    answering(supervisor, follow, started)
    follow("b", latest="2", rollout={**ROLLOUT, "steps": [0, 100]})
    for _ in range(3):
        until(supervisor, lambda: started[-1].returncode is None)
        started[-1].say(ready={})
        until(supervisor, lambda: supervisor._progress.candidate == "2" and not supervisor._current("loading"))
        supervisor._pause_until = 0.0
        started[-1].leave(-signal.SIGSEGV)
        supervisor.turn()
    until(supervisor, lambda: supervisor._progress.candidate is None)
    event = supervisor._progress.events[-1]
    assert (event["event"], event["version"], event["why"]) == ("rolled back", "2", "3 workers ended unasked")


def test_a_worker_that_was_told_to_leave_and_does_not_is_killed(supervisor, follow, started, monkeypatch):
    """As one whose model hangs."""
    worker = answering(supervisor, follow, started)
    follow("b", latest="2")
    started[1].say(ready={})
    until(supervisor, lambda: any("drain" in message for message in worker.hear()))
    supervisor.turn()
    assert not worker.killed
    later = time.monotonic() + 60
    monkeypatch.setattr(pool.time, "monotonic", lambda: later)
    supervisor.turn()
    assert worker.killed
    assert len(supervisor._workers) == 1


def test_a_successor_that_is_gone_before_it_is_given_anything_ends_nobody(supervisor, follow, started):
    worker = answering(supervisor, follow, started)
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(supervisor._handover.path)
        supervisor.turn()
    assert worker.signals == []
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(supervisor._handover.path)
        supervisor.turn()
        _, given, _, _ = socket.recv_fds(asking, 1, 2)
    assert len(given) == 1
    os.close(given[0])


def test_what_a_machine_cannot_give_now_is_said_once_and_tried_again(supervisor, follow, started, monkeypatch, capfd):
    worker = answering(supervisor, follow, started)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as short:
        short.setattr(module, "_write", full)
        short.setattr(pool.subprocess, "Popen", full)
        worker.leave(-signal.SIGKILL)
        for _ in range(20):
            supervisor._pause_until = 0.0
            supervisor.turn()
    said = capfd.readouterr().err
    assert said.count("error: no worker can be started: [Errno 28] no space left") >= 1
    supervisor._pause_until = 0.0
    until(supervisor, lambda: len(started) == 2)
    started[1].say(ready={})
    until(supervisor, lambda: bool(supervisor._current("ready")))


def test_a_model_that_is_missing_for_a_day_is_still_tried(supervisor, follow, started):
    answering(supervisor, follow, started)
    supervisor._failures = 5000
    supervisor._pause()
    assert supervisor._pause_until < time.monotonic() + 31


def test_a_fault_of_ours_ends_no_worker_once_something_is_served(supervisor, follow, started, monkeypatch, capfd):
    worker = answering(supervisor, follow, started)

    def broken(*_: Any) -> None:
        raise IndexError("of ours")

    with monkeypatch.context() as faulty:
        faulty.setattr(supervisor, "_roll_out", broken)
        for _ in range(3):
            supervisor._turn_on()
    assert capfd.readouterr().err.count("error: IndexError: of ours") == 1
    supervisor._turn_on()
    assert (worker.signals, supervisor._current("ready")[0].process) == ([], worker)


@pytest.mark.parametrize("text", ["", "[]", '{"stable": "1"}'])
def test_a_state_that_cannot_be_read_is_told_before_anything_is_served(supervisor, follow, tmp_path, text):
    """What was rolled back must not be served because that is forgotten."""
    (tmp_path / "rollout.json").write_text(text)
    with pytest.raises(InputError, match=r"rollout\.json does not say how far the rollout is .*: remove it to have"):
        follow("a", latest="1")


@pytest.mark.parametrize("versions", [[], "1", {"1": []}, {"1": "path"}, None])
def test_a_plan_of_another_shape_is_refused_and_what_is_served_goes_on(
    supervisor, follow, started, tmp_path, capfd, versions
):
    worker = answering(supervisor, follow, started)
    plan = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps({**plan, "versions": versions}))
    supervisor._reread = True
    supervisor.turn()
    assert "plan.json is not a plan: " in capfd.readouterr().err
    assert (worker.signals, worker.returncode) == ([], None)


def test_a_worker_that_says_no_more_and_has_not_ended_yet_costs_no_processor(supervisor, follow, started):
    first = answering(supervisor, follow, started)
    follow("b", latest="2")
    started[1].say(ready={})
    until(supervisor, lambda: any("drain" in message for message in first.hear()))
    first.link.close()  # as a process that has closed all and gives its memory back
    turns, ends = 0, time.monotonic() + 1
    while time.monotonic() < ends:
        supervisor.turn()
        turns += 1
    assert turns < 3 / module.TICK_SECONDS
    first.leave()
    until(supervisor, lambda: len(supervisor._workers) == 1)
