"""Keeps an endpoint's socket and as many workers as the load asks for: none, one or several.

    python -m penstock_serving.supervisor --plan FILE --folder DIR --host 127.0.0.1 --port PORT [--grpc-port PORT] ...

Other arguments are the workers': what arrives is watched by them (`python -m penstock_serving.worker --help`).
It holds the listening sockets and never accepts: workers do, each for itself, so it costs a request nothing. While
there is no worker, connections wait with the kernel, and the first one starts a worker. SIGHUP: read the plan again; a
plan whose models do not load is refused, and what was served before goes on. SIGTERM: drain and end. One supervisor at
a time decides on the rollout, by a lock on the folder; a successor (`--succeed`) is handed the sockets themselves: what
waits is not lost.

Standard library only, and no more of it than it needs: it is small, and starts at once.
"""

import argparse
import fcntl
import json
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from penstock_serving.access import access_of, add_access
from penstock_serving.handover import Handover, inherit, listen, require_grpc
from penstock_serving.plan import Plan, PlanError
from penstock_serving.pool import WorkerProcess
from penstock_serving.rollout import Progress
from penstock_serving.routing import Routes
from penstock_serving.scaling import Scaler
from penstock_serving.totals import Totals
from penstock_serving.watching import Watch
from penstock_trainer.errors import InputError

TICK_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
DEATHS = 3
"""So many workers that are lost in one step of a rollout are the new version's fault."""
INPUT_AT_FAULT = 2


class Supervisor:
    """One endpoint on this machine."""

    def __init__(
        self, plan_file: Path, folder: Path, listeners: Sequence[socket.socket], arguments: Sequence[str]
    ) -> None:
        """`listeners`: for REST, then for gRPC if that is answered too; `arguments` are the workers'."""
        self._plan_file, self._folder, self._listeners, self._arguments = plan_file, folder, listeners, arguments
        self._workers: list[WorkerProcess] = []
        self._trial: WorkerProcess | None = None
        self._plan: Plan | None = None
        self._tried: Plan | None = None
        self._progress = self._followed = Progress()
        self._refused: dict[str, str] | None = None
        self._generation = 0
        self._count = 1
        self._scaler = Scaler()
        self._watch = Watch()
        self._totals = Totals()
        self._failures, self._pause_until = 0, 0.0
        self._deaths = 0
        """Workers lost since the rollout's step began."""
        self._kept: Progress | None = None
        """What the rollout's file says, if this process has written it."""
        self._reread, self._stopping, self._succeeded = True, False, False
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("w")
        self._deciding = False
        self._said: dict[str, str] = {}
        self._selector = selectors.DefaultSelector()
        self._handover = Handover(listeners)
        self._selector.register(self._handover, selectors.EVENT_READ)
        self._waits = False

    def run(self) -> int:
        """Serve until SIGTERM; the exit code."""
        signal.signal(signal.SIGHUP, lambda *_: setattr(self, "_reread", True))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "_stopping", True))
        try:
            while not self._stopping:
                self._turn_on()
                if self._plan is None and self._trial is None:
                    return INPUT_AT_FAULT
            return 0
        finally:
            self.end()

    def _turn_on(self) -> None:
        """A turn; whatever goes wrong in one of an endpoint that answers must not end its workers."""
        try:
            self.turn()
        except Exception as exc:
            if self._plan is None:
                raise
            self._complain(f"{type(exc).__name__}: {exc}", "".join(traceback.format_exception(exc)))
            time.sleep(TICK_SECONDS)

    def _complain(self, what: str, at_length: str = "") -> None:
        """Say what went wrong, once while it goes on."""
        if self._said.get("wrong") != what:
            self._said["wrong"] = what
            _say(f"{at_length}error: {what}")

    def turn(self) -> None:
        """Wait for something to happen, a tick at most, and do what it takes."""
        self._wait()
        self._decide_alone()
        if self._reread:
            self._reread = False
            self._read_plan()
        self._hear()
        if self._plan is not None:
            self._roll_out(self._plan)
            self._balance(self._plan)
            self._keep()
        self._tell()

    def _wait(self) -> None:
        """Until something happens, but no longer than a tick."""
        serving = [worker for worker in self._workers if worker.state != "draining"]
        waits = self._plan is not None and not serving
        for listener in self._listeners if waits != self._waits else ():
            if waits:
                self._selector.register(listener, selectors.EVENT_READ)
            else:
                self._selector.unregister(listener)
        self._waits = waits
        for key, _ in self._selector.select(TICK_SECONDS):
            if key.fileobj is self._handover:
                self._succeeded |= self._handover.give()
            elif key.fileobj in self._listeners:
                self._count = max(1, self._count)

    def _decide_alone(self) -> None:
        """Take the lock when it is free; until then follow what its holder has decided."""
        if self._deciding:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            self._deciding = True
        found = self._read_progress()
        if self._plan is None:
            self._progress = found
        elif self._deciding or found != self._followed:
            self._decided(found.aim(self._plan, time.time()))
            self._direct(self._plan)
        self._followed = found

    def _read_plan(self) -> None:
        """Serve what the plan says: at once if every worker has the models, else by a worker that loads them."""
        if self._trial is not None:
            self._trial.end()
            self._trial = self._tried = None
        try:
            plan = Plan.read(self._plan_file)
        except PlanError as exc:
            _say(f"error: {exc}")
            self._refused = {"revision": "", "version": "", "error": str(exc)}
            return
        progress = self._progress.aim(plan, time.time())
        routes = progress.routes(plan)
        needed = {number: plan.versions[number] for number in routes.versions}
        current = [worker for worker in self._workers if worker.state == "ready"]
        if current and all(worker.holds(needed) for worker in current):
            self._accept(plan, progress)
        else:
            self._trial = self._start(plan, routes, self._generation + 1)
            if self._trial is not None:
                self._tried = plan
            elif self._refused is not None:
                self._refused = self._refused | {"revision": plan.revision}

    def _accept(self, plan: Plan, progress: Progress) -> None:
        self._plan, self._refused = plan, None
        self._decided(progress)
        self._count = min(max(self._count, plan.replicas.lowest, 1), max(1, plan.replicas.highest))
        self._direct(plan)

    def _decided(self, progress: Progress) -> None:
        """Remember, also beyond this process."""
        self._progress = progress
        self._deaths = 0
        self._watch.begin()
        self._keep()

    def _keep(self) -> None:
        """Write down how far the rollout is; where that fails now, it is tried again."""
        if self._deciding and self._kept != self._progress:
            try:
                _write(self._folder / "rollout.json", self._progress.as_json(), lasting=True)
            except OSError as exc:
                self._complain(f"the rollout's state is not kept: {exc}")
            else:
                self._kept = self._progress

    def _direct(self, plan: Plan) -> None:
        routes = self._progress.routes(plan)
        for worker in self._current("ready"):
            worker.direct(routes, self._progress.candidate is not None)

    def _hear(self) -> None:
        """What the workers say, and which of them are gone."""
        for worker in list(self._workers):
            gone = worker.gone()
            try:
                for message in worker.link.receive():
                    self._heard(worker, message)
            except EOFError:
                self._silenced(worker)
            if gone:
                self._lost(worker)

    def _silenced(self, worker: WorkerProcess) -> None:
        """It says no more and is about to end: a link's end can be read again and again, and is never waited for."""
        if not worker.silent:
            worker.silent = True
            self._selector.unregister(worker.link)

    def _heard(self, worker: WorkerProcess, message: dict[str, Any]) -> None:
        if "report" in message:
            self._totals.add(worker.process.pid, message["report"].pop("metrics"))
            self._watch.add(worker.process.pid, message["report"])
            worker.report = message["report"]
        elif "scrape" in message:
            self._totals.add(worker.process.pid, message["scrape"])
            worker.link.send({"totals": self._totals.as_json()})
        elif "failed" in message:
            worker.failure = {"version": message["version"], "error": message["failed"]}
        elif "ready" in message and worker.state == "loading":
            worker.state = "ready"
            self._failures = 0
            if self._refused is not None and not self._refused["revision"]:
                self._refused = None
            self._scaler.started(time.monotonic())
            if worker is self._trial and self._tried is not None:
                self._take_over(worker, self._tried)
            elif self._plan is not None:
                worker.direct(self._progress.routes(self._plan), self._progress.candidate is not None)
                self._make_room(worker)

    def _take_over(self, trial: WorkerProcess, plan: Plan) -> None:
        """Serve the plan that the worker was started for, from where the rollout has got while it loaded."""
        progress = self._progress.aim(plan, time.time())
        if not trial.holds({number: plan.versions[number] for number in progress.routes(plan).versions}):
            self._reread = True  # another version serves by now: another worker loads that
            return
        self._generation += 1
        self._trial = self._tried = None
        for late in self._workers:
            if late.state == "loading":  # what an earlier plan needs
                late.end()
        self._accept(plan, progress)

    def _make_room(self, newcomer: WorkerProcess) -> None:
        """Have the others send a fair part of their clients away, who stay with a connection otherwise."""
        others = [worker for worker in self._current("ready") if worker is not newcomer]
        for worker in others:
            worker.link.send({"leave": worker.report["connections"] // (len(others) + 1)})

    def _lost(self, worker: WorkerProcess) -> None:
        self._workers.remove(worker)
        self._silenced(worker)
        worker.link.close()
        self._said.pop(str(worker.process.pid), None)
        self._watch.forget(worker.process.pid)
        self._totals.forget(worker.process.pid)
        if worker.state == "draining":
            return
        if worker is self._trial and self._tried is not None:
            failure = worker.failure or {"version": "", "error": f"a worker ended with {worker.process.returncode}"}
            self._refused = {"revision": self._tried.revision, **failure}
            self._trial = self._tried = None
            return
        if worker.failure is not None:
            self._refused = {"revision": "", **worker.failure}
        self._deaths += 1
        self._pause()

    def _pause(self) -> None:
        """Start no other worker for a while, the longer the more often it failed."""
        self._failures += 1
        self._pause_until = time.monotonic() + min(LONGEST_PAUSE_SECONDS, 2.0 ** min(self._failures - 2, 10))

    def _roll_out(self, plan: Plan) -> None:
        """Move the candidate on or back, if there is one."""
        if plan.rollout is None or self._progress.candidate is None or not self._deciding:
            return
        now, seen = time.time(), self._watch.seen(self._progress, self._progress.routes(plan))
        progress, self._watch.gates = self._progress.judged(plan.rollout, now, seen)
        if self._deaths >= DEATHS:
            progress = self._progress.rolled_back(now, f"{self._deaths} workers ended unasked")
        if progress != self._progress:
            self._decided(progress)
            self._direct(plan)

    def _balance(self, plan: Plan) -> None:
        """As many workers of this plan as the load asks for; those of an earlier plan go as these become ready."""
        now = time.monotonic()
        ready, loading = self._current("ready"), self._current("loading")
        earlier = [w for w in self._workers if w.state == "ready" and w.generation < self._generation]
        if (ready or earlier) and not loading:
            in_flight = sum(worker.report["in_flight"] for worker in [*ready, *earlier])
            self._count = self._scaler.wanted(now, self._count, in_flight, self._watch.active(), plan.replicas)
        elif not ready:
            self._count = max(self._count, plan.replicas.lowest)
        excess = earlier + ready[::-1]
        for worker in excess[: max(0, len(excess) - self._count)]:
            worker.drain()
        if len(ready) + len(loading) < self._count and now >= self._pause_until:
            self._start(plan, self._progress.routes(plan), self._generation)

    def _current(self, state: str) -> list[WorkerProcess]:
        return [w for w in self._workers if w.state == state and w.generation == self._generation]

    def _start(self, plan: Plan, routes: Routes, generation: int) -> WorkerProcess | None:
        """A worker more; None where the machine has no room for one now."""
        quietly = any(worker.state == "ready" for worker in self._workers)
        try:
            worker = WorkerProcess(self._listeners, self._arguments, plan, routes, generation, quietly=quietly)
        except OSError as exc:
            why = f"no worker can be started: {exc}"
            self._complain(why)
            self._refused = {"revision": "", "version": "", "error": why}
            self._pause()
            return None
        self._workers.append(worker)
        self._selector.register(worker.link, selectors.EVENT_READ)
        return worker

    def _tell(self) -> None:
        """Whoever asks a worker about the traffic, and `pulumi up` by a file."""
        if self._plan is None:
            return
        states = [worker.state for worker in self._workers]
        replicas = {state: states.count(state) for state in ("ready", "loading", "draining")}
        limits = {"lowest": self._plan.replicas.lowest, "highest": self._plan.replicas.highest}
        traffic: dict[str, Any] = {"replicas": replicas | limits, "refused": self._refused}
        traffic["rollout"] = self._watch.described(self._plan, self._progress)
        if self._watch.shadow is not None:
            traffic["comparison"] = self._watch.summary()
        text = json.dumps(traffic)
        for worker in self._current("ready"):
            if self._said.get(str(worker.process.pid)) != text:
                worker.link.send({"traffic": traffic})
                self._said[str(worker.process.pid)] = text
        status = {"revision": self._plan.revision, "handover": self._handover.path}
        status |= {"refused": self._refused, "ready": replicas["ready"]}
        if self._said.get("status") != json.dumps(status):
            try:
                _write(self._status_file, status)
            except OSError as exc:
                self._complain(f"the endpoint's state is not written: {exc}")
            else:
                self._said["status"] = json.dumps(status)

    @property
    def _status_file(self) -> Path:
        return self._folder / f"status.{os.getpid()}.json"

    def end(self) -> None:
        """End every worker, let go of the sockets and the lock, leave no file."""
        for worker in self._workers:
            if worker.state == "ready" and self._succeeded:
                worker.drain()
            else:
                worker.end()
        while self._workers:  # one that does not end is killed when its time is over
            time.sleep(0.02)
            self._hear()
        self._status_file.unlink(missing_ok=True)
        self._handover.close()
        self._lock.close()

    def _read_progress(self) -> Progress:
        """What the rollout's file says; once something is served, what it said last where it cannot be read.

        Raises:
            InputError: it cannot be read, and nothing is served yet.
        """
        file = self._folder / "rollout.json"
        try:
            return Progress.of(json.loads(file.read_text()))
        except FileNotFoundError:
            return Progress()
        except (OSError, ValueError, KeyError, TypeError) as exc:
            if self._plan is not None:
                return self._followed
            raise InputError(
                f"{file} does not say how far the rollout is ({exc!r}): remove it to have the latest version answer all"
            ) from exc


def _say(line: str) -> None:
    """To the log, which may be on a disk that is full."""
    with suppress(OSError):
        os.write(2, f"{line}\n".encode())


def _write(path: Path, content: Any, *, lasting: bool = False) -> None:
    """A JSON file that is either whole or not there; `lasting`: also where the machine loses its power."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        file.write(json.dumps(content, indent=1))
        file.flush()
        if lasting:
            os.fsync(file.fileno())
    temporary.replace(path)


def main() -> int:
    """Supervise until SIGTERM; the exit code: 0 ended well, 2 the input is at fault."""
    parser = argparse.ArgumentParser(prog="python -m penstock_serving.supervisor", description=__doc__)
    parser.add_argument("--plan", type=Path, required=True, help="what to serve: see docs/contracts.md")
    parser.add_argument("--folder", type=Path, required=True, help="where the rollout's state is kept")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, help="answer TensorFlow Serving's gRPC Predict here too (default: no)")
    parser.add_argument("--succeed", metavar="SOCKET", help="take over from the supervisor that hands over there")
    arguments, others = parser.parse_known_args()
    workers = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_access(workers)
    try:
        access_of(workers.parse_known_args(others)[0])
        listeners = _listeners(arguments)
        return Supervisor(arguments.plan, arguments.folder, listeners, others).run()
    except InputError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return INPUT_AT_FAULT


def _listeners(arguments: argparse.Namespace) -> list[socket.socket]:
    """The sockets, inherited or new; what is inherited and not asked for is let go."""
    try:
        inherited = inherit(arguments.succeed) if arguments.succeed else []
    except OSError as exc:
        raise InputError(f"cannot take over at {arguments.succeed}: {exc.strerror}") from exc
    listeners = [listen(arguments.host, arguments.port, inherited, "--port")]
    if arguments.grpc_port is not None:
        require_grpc()
        listeners.append(listen(arguments.host, arguments.grpc_port, inherited, "--grpc-port"))
    for each in inherited:
        if each not in listeners:
            each.close()
    return listeners


if __name__ == "__main__":
    sys.exit(main())
