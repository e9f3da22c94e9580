"""Which member of a cluster this process is, from TF_CONFIG; how members wait for one another."""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from penstock_trainer.errors import InputError

PATIENCE_SECONDS = 600.0
EVALUATOR = "evaluator"
STRATEGIES = ("local", "mirrored", "multiworker", "parameter-server", "tpu")


class Unreachable(RuntimeError):
    """A member of the cluster did not answer for as long as one waits."""


@dataclass(frozen=True)
class Member:
    """One process of a job: its role and index, and every address of the cluster by role; alone where it is empty."""

    role: str
    index: int
    cluster: Mapping[str, Sequence[str]]

    @classmethod
    def of_this_process(cls) -> "Member":
        """From TF_CONFIG, or, where it is not set, from PENSTOCK_ROLE.

        Raises:
            InputError: TF_CONFIG is not JSON, or its task is not in its cluster.
        """
        text = os.environ.get("TF_CONFIG", "")
        if not text:
            return cls(os.environ.get("PENSTOCK_ROLE", "chief"), int(os.environ.get("PENSTOCK_INDEX", "0")), {})
        try:
            found: dict[str, Any] = json.loads(text)
        except json.JSONDecodeError as exc:
            raise InputError(f"TF_CONFIG is not JSON: {exc}: {text[:200]}") from exc
        cluster, task = found.get("cluster", {}), found.get("task", {})
        role, index = task.get("type", "chief"), int(task.get("index", 0))
        if cluster and not 0 <= index < len(cluster.get(role, ())):
            raise InputError(f"TF_CONFIG: the task is {role} {index}, its cluster has {_counts(cluster)}")
        return cls(role, index, cluster)

    @property
    def name(self) -> str:
        """`worker-1`."""
        return f"{self.role}-{self.index}"

    @property
    def leads(self) -> bool:
        """Whether this is the member that writes checkpoints and seals the model."""
        return self.role == "chief" or (self.role == "worker" and self.index == 0 and "chief" not in self.cluster)

    @property
    def serves(self) -> bool:
        """Whether this member only answers a chief that drives it: parameter servers, and their workers."""
        return self.role == "ps" or (self.role == "worker" and bool(self.cluster.get("ps")))

    @contextmanager
    def present(self) -> Iterator[None]:
        """Accept connections at this member's address, before TensorFlow does, so that the others see it is there."""
        host, _, port = self.cluster[self.role][self.index].rpartition(":")
        with socket.create_server((host.strip("[]"), int(port)), backlog=1024):
            yield

    def unreachable(self, roles: Iterable[str]) -> list[str]:
        """The members of these roles that accept no connection now: `ps-1 (10.0.0.7:2222)`."""
        return [
            f"{role}-{index} ({address})"
            for role in roles
            for index, address in enumerate(self.cluster.get(role, ()))
            if (role, index) != (self.role, self.index) and not _answers(address)
        ]

    def leader_answers(self) -> bool:
        """Whether the member that leads accepts connections now."""
        role = "chief" if self.cluster.get("chief") else "worker"
        return _answers(self.cluster[role][0])

    def wait_for(self, roles: Sequence[str], patience: float = PATIENCE_SECONDS) -> None:
        """Return when all members of these roles accept connections; says meanwhile who waits for whom.

        Raises:
            Unreachable: one did not within `patience` seconds.
        """
        began, said = time.monotonic(), 0.0
        while missing := self.unreachable(roles):
            waited = time.monotonic() - began
            if waited > patience:
                raise Unreachable(f"{self.name} waited {waited:.0f} s for {', '.join(missing)}: no answer")
            if waited >= said:
                print(f"{self.name} waits for {', '.join(missing)}", flush=True)
                said = waited + 5
            time.sleep(0.2)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def _counts(cluster: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{len(addresses)} {role}" for role, addresses in sorted(cluster.items())) or "nobody"
