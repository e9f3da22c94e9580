"""Runs one job of the local target to its end: `python -m penstock.local.supervisor SPEC.json`.

A process of its own, so that nothing outlives an interrupted run: it ends every replica when it is told to (SIGINT,
SIGTERM, SIGHUP) and when one of the processes it watches, the Pulumi engine and the provider, is gone.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from penstock import cluster_spec
from penstock.local import ports
from penstock.local.identity import ProcessIdentity
from penstock.local.replica import INPUT_AT_FAULT, Replica
from penstock.local.spec import Identity, JobSpec, Outcome, write_json

GRACE_SECONDS = 5.0
HOST = "127.0.0.1"
RELAYED_ROLES = ("chief", "trial", "evaluator")


class Supervisor:
    """The replicas of one job, from their start to the outcome."""

    def __init__(self, spec: JobSpec) -> None:
        self.stop_reason: str | None = None
        self._spec = spec
        self._restarts = 0
        self._watched = [ProcessIdentity(pid, started) for pid, started in spec["watch"]]
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._identities: dict[str, Identity] = {}
        self._replicas = [self._replica(index) for index in range(len(spec["replicas"]))]

    def run(self) -> Outcome:
        """Starts every replica and returns how the job ended, with no replica left."""
        try:
            self._assign_addresses()
            for replica in self._replicas:
                self._start(replica)
            return self._wait()
        finally:
            self._end_all()

    def _wait(self) -> Outcome:
        next_look = 0.0
        while True:
            for replica in self._replicas:
                code = replica.poll()
                if code is None or (code == 0 and not self._decides(replica)):
                    continue
                if code == 0:
                    return {"status": "succeeded", "message": "", "log": ""}
                if self.stop_reason is None and not self._restarted(replica) and not self._all_restarted(replica):
                    return self._failure(replica, code)
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + 0.5
                if not all(process.alive() for process in self._watched):
                    self.stop_reason = "the command that started it is gone"
            if self.stop_reason is not None:
                return {"status": "interrupted", "message": self.stop_reason, "log": ""}
            time.sleep(0.05)

    def _restarted(self, replica: Replica) -> bool:
        if not replica.may_restart():
            return False
        replica.restarts_left -= 1
        total = replica.spec["restarts"]
        _say(f"{replica.name} {_ended(replica.exit_code)}; started again ({total - replica.restarts_left} of {total})")
        self._start(replica)
        return True

    def _all_restarted(self, failed: Replica) -> bool:
        """Where the loss of one is the loss of all: every replica starts again, as a JobSet's would."""
        if failed.exit_code == INPUT_AT_FAULT or self._restarts >= self._spec["restarts"]:
            return False
        self._restarts += 1
        said = f"{failed.name} {_ended(failed.exit_code)}: {failed.last_words()}".rstrip(": ").splitlines()[0]
        _say(f"{said}; all roles start again ({self._restarts} of {self._spec['restarts']})")
        for replica in self._replicas:
            replica.kill()
        for replica in self._replicas:
            replica.restarts_left = replica.spec["restarts"]
            self._start(replica)
        return True

    def _failure(self, replica: Replica, code: int) -> Outcome:
        words = replica.last_words()
        if code != INPUT_AT_FAULT:
            words = f"{replica.name} {_ended(code)}" + (f": {words}" if words else "")
        return {"status": "failed", "message": words, "log": replica.spec["log"]}

    def _decides(self, replica: Replica) -> bool:
        return replica.spec["role"] == self._spec["success_role"] and replica.spec["index"] == 0

    def _replica(self, index: int) -> Replica:
        spec = self._spec["replicas"][index]
        replica = Replica(spec, self._spec["cwd"], _say if spec["role"] in RELAYED_ROLES else None)
        spec["environment"] |= {
            "PENSTOCK_ROLE": spec["role"],
            "PENSTOCK_INDEX": str(spec["index"]),
            "PENSTOCK_GRACE_SECONDS": f"{GRACE_SECONDS:g}",
        }
        if self._decides(replica):
            spec["environment"]["PENSTOCK_RESULT"] = self._spec["result"]
        return replica

    def _assign_addresses(self) -> None:
        counts: dict[str, int] = {}
        for replica in self._replicas:
            counts[replica.spec["role"]] = counts.get(replica.spec["role"], 0) + 1
        members = cluster_spec.members(counts)
        addresses = dict(zip(members, ports.free_ports(HOST, len(members)), strict=True))
        for replica in self._replicas:
            role, index = replica.spec["role"], replica.spec["index"]
            value = cluster_spec.tf_config(counts, lambda r, i: f"{HOST}:{addresses[r, i]}", role, index)
            if value is not None:
                replica.spec["environment"]["TF_CONFIG"] = value

    def _start(self, replica: Replica) -> None:
        identity = replica.start(self._environment)
        if identity is not None:
            self._identities[replica.name] = (identity.pid, identity.started)
            write_json(self._spec["processes"], self._identities)

    def _end_all(self) -> None:
        for replica in self._replicas:
            replica.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline and any(replica.running() for replica in self._replicas):
            time.sleep(0.05)
        for replica in self._replicas:
            replica.kill()
        Path(self._spec["processes"]).unlink(missing_ok=True)


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:
        # The provider is gone; the watch ends the job.
        return


def main() -> None:
    """Runs the job that the file named on the command line describes."""
    spec: JobSpec = json.loads(Path(sys.argv[1]).read_text())
    supervisor = Supervisor(spec)

    def stop(number: int, _frame: object) -> None:
        supervisor.stop_reason = signal.Signals(number).name

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    write_json(spec["outcome"], supervisor.run())


if __name__ == "__main__":
    main()
