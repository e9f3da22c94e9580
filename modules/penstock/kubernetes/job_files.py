"""A job's files of the deploying machine, as pods have them: the problem by a ConfigMap, keys by a Secret."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pulumi

from penstock.errors import PenstockError
from penstock.kubernetes import keys, kinds
from penstock.kubernetes.pods import PROBLEM, labels
from penstock.platform import Job


@dataclass(frozen=True)
class JobFiles:
    """Where relative files start, and how a pod reaches what is no file of this machine."""

    folder: Path
    reachable: tuple[str, ...]
    """Beginnings of what pods read as it is written."""
    advice: str
    """What a person is to do with a file that pods do not reach."""

    def commands(self, job: Job) -> dict[str, list[pulumi.Input[str]]]:
        """The commands by role as they are where the pods run; PenstockError for a file that is not there."""
        return {
            role: [self._in_pod(argument, job) for argument in details.command] for role, details in job.roles.items()
        }

    def config_map(self, stack: str, name: str, job: Job) -> dict[str, Any] | None:
        """The manifest that holds the problem's file, if it is one; its name ends in its digest, as what is mounted
        must not change.

        Raises:
            PenstockError: the file cannot be read.
        """
        own = [file for file in job.files if file.endswith(".py")]
        if not own:
            return None
        file = self.folder / own[0]
        try:
            text = file.read_text()
        except OSError as exc:
            raise PenstockError(f"the problem {own[0]!r} cannot be read: {exc.strerror}") from exc
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": kinds.named_by_content(name, text), "labels": labels(stack, name, "problem")},
            "immutable": True,
            "data": {file.name: text},
        }

    def _in_pod(self, argument: pulumi.Input[str], job: Job) -> pulumi.Input[str]:
        if not isinstance(argument, str) or argument not in job.files:
            return argument
        if argument in job.keys:
            return keys.in_pod(argument)
        if argument.endswith(".py"):
            return f"{PROBLEM}/{PurePosixPath(argument).name}"
        if argument.startswith(self.reachable):
            return argument
        where = "in an object store, to which the pods are given no way" if "://" in argument else "on this machine"
        raise PenstockError(f"files {argument!r} are {where}, where the pods cannot read them; {self.advice}")
