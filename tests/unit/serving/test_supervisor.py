"""The supervisor, with workers whose part the test plays."""

import itertools
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock_serving import pool
from penstock_serving.link import Link
from penstock_serving.supervisor import Supervisor
from penstock_serving.tally import Tally

ROLLOUT = {"steps": [50, 100], "step_seconds": 0, "step_requests": 20}


class Played:
    """A process that is none: the test says what it says."""

    pids = itertools.count(1_000_000_000)

    def __init__(self, _command: Any, pass_fds: tuple[int, ...], **_: Any) -> None:
        self.link = Link(socket.socket(fileno=os.dup(pass_fds[1])))
        self.pid = next(self.pids)
        self.returncode: int | None = None
        self.signals: list[int] = []
        self.told: list[dict[str, Any]] = []

    def poll(self) -> int | None:
        """The exit code, once there is one."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        """As a process that is still loading: it ends."""
        self.signals.append(number)
        self.leave()

    def leave(self) -> None:
        """End well."""
        self.returncode = 0
        self.link.close()

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
