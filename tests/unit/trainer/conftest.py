"""A slice of the real flights, carried through the stages once for all tests of this folder."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloud_storage
import pyarrow.fs as pa_fs
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

from penstock_trainer.__main__ import main

from ._processes import starting

ROWS = 6000


def pytest_configure(config: pytest.Config) -> None:
    """Beam's threads outlive the test that made them, and draw a number between two tries at any time."""
    config.addinivalue_line("filterwarnings", "ignore:Do not use the `random` module inside strategies")


@dataclass(frozen=True)
class Result:
    """What a stage wrote to the file that PENSTOCK_RESULT names."""

    kind: str
    path: str
    digest: str
    reused: bool
    counts: dict
    metrics: dict
    peak_memory_mib: int


def run(*arguments: object, folder: Path) -> Result:
    """Run a stage in this process and return its result."""
    os.environ["PENSTOCK_RESULT"] = str(folder / "result.json")
    try:
        assert main([str(argument) for argument in arguments]) == 0
    finally:
        del os.environ["PENSTOCK_RESULT"]
    return Result(**json.loads((folder / "result.json").read_text()))


@pytest.fixture
def start():
    """Starts a Python process that is gone when the test ends."""
    with starting() as function:
        yield function


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="session")
def raw(artifacts) -> Result:
    return run("raw", "--problem", "flights", "--artifacts", artifacts, "--rows", ROWS, "--shards", 2, folder=artifacts)


@pytest.fixture(scope="session")
def dataset(artifacts, raw) -> Result:
    return run("preprocess", "--problem", "flights", "--artifacts", artifacts, "--raw", raw.path, folder=artifacts)


@pytest.fixture(scope="session")
def study(artifacts, raw, dataset) -> Result:
    flags = ("--dataset", dataset.path, "--trials", 3, "--epochs", 1)
    away = Path(raw.path).with_name("away")  # a trial that looked for the raw files would fail
    Path(raw.path).rename(away)
    found = run("tune", "--problem", "flights", "--artifacts", artifacts, *flags, folder=artifacts)
    away.rename(raw.path)
    return found


@pytest.fixture(scope="session")
def model(artifacts, dataset, study) -> Result:
    flags = ("--dataset", dataset.path, "--study", study.path, "--epochs", 2)
    return run("train", "--problem", "flights", "--artifacts", artifacts, *flags, folder=artifacts)


@pytest.fixture(scope="session")
def storage_process() -> Iterator[str]:
    """A real emulator of Cloud Storage; the host and port where it listens."""
    with cloud_storage.emulator() as host:
        yield host


@pytest.fixture
def storage(storage_process: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The emulator's buckets; the trainer is told of it as Google's own clients are."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{storage_process}")
    return pa_fs.GcsFileSystem(anonymous=True, scheme="http", endpoint_override=storage_process, project_id="test")
