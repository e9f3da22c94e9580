"""Tiny real processes in place of the trainer and the server."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.local.spec import JobSpec, ReplicaSpec


@pytest.fixture
def replica(tmp_path: Path) -> Callable[..., ReplicaSpec]:
    """Makes the description of a replica that runs some Python."""

    def make(role: str, code: str, index: int = 0, restarts: int = 0) -> ReplicaSpec:
        return {
            "role": role,
            "index": index,
            "command": [sys.executable, "-c", "import os, signal, sys, time\n" + code],
            "environment": {},
            "log": str(tmp_path / "logs" / f"{role}-{index}.log"),
            "restarts": restarts,
        }

    return make


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., JobSpec]:
    """Makes the description of a job of such replicas."""

    def make(*replicas: ReplicaSpec, watch: tuple[tuple[int, float], ...] = (), restarts: int = 0) -> JobSpec:
        return {
            "name": "stage",
            "success_role": "chief",
            "restarts": restarts,
            "replicas": list(replicas),
            "cwd": str(tmp_path),
            "result": str(tmp_path / "result.json"),
            "outcome": str(tmp_path / "outcome.json"),
            "processes": str(tmp_path / "processes.json"),
            "watch": list(watch),
        }

    return make
