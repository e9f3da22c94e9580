"""The examples that run on one machine, each in a foreign project: real engine, real trainer, real server."""

import json
import shutil
import subprocess

import pytest

from tests.reuse.conftest import PACKAGE
from tests.reuse.test_own_repository import NEAR, ROW, asked


@pytest.fixture(scope="module")
def another(carried, environments):
    """A second model of the same dataset: folder and digest."""
    dataset, store = carried.artifact("flow-preprocess-dataset"), carried.folder / ".penstock/local/artifacts"
    told = carried.folder / "another.json"
    command = [
        environments["trainer"] / "bin/python",
        "-m",
        "penstock_trainer",
        "train",
        "--problem",
        f"{PACKAGE}.late",
    ]
    command += ["--artifacts", store, "--dataset", dataset["path"], "--epochs", "3"]
    done = subprocess.run(
        command, env={**carried.environment, "PENSTOCK_RESULT": str(told)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(told.read_text())
    return {"path": found["path"], "digest": found["digest"]}


@pytest.mark.parametrize("example", ["existing_model"], indirect=True)
def test_a_server_that_is_not_installed_is_told_before_anything_is_made_and_without_a_traceback(example):
    (example.folder / "serving/.venv").unlink()
    example.configure(model="/m", digest="sha256:0")
    told = example.run("preview", expected=1)
    assert "the serving environment is not there" in told
    assert "pip install 'penstock-serving'" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("example", ["existing_model"], indirect=True)
def test_a_model_that_exists_already_is_served_by_its_digest_and_no_other(example, carried):
    model = carried.artifact("flow-train-model")
    example.configure(model=model["path"], digest=f"sha256:{'0' * 64}", port=example.port)
    assert "was refused" in (told := example.up(expected=1)) or "has digest" in told
    assert "Traceback" not in told
    example.configure(digest=model["digest"])
    example.up()
    assert asked(example.outputs()["url"], ROW)[1] == model["digest"]


@pytest.mark.parametrize("example", ["own_problem"], indirect=True)
def test_a_problem_of_another_repository_is_carried_all_the_way(example, carried):
    # What the repository's own program has sealed is the same work: each stage finds it by its digests.
    store = example.folder / ".penstock/local/artifacts"
    shutil.copytree(carried.folder / ".penstock/local/artifacts", store)
    shutil.copytree(carried.folder / "data", example.folder / "data")
    example.configure(problem=f"{PACKAGE}.late", raw="data/*.csv", trials=1, processes=1, port=example.port)
    example.up()
    outputs, made = example.outputs(), example.resources()
    assert made["flow-preprocess-dataset"]["reused"]
    assert made["flow-tune-study"]["reused"]
    assert outputs["rows"] == carried.outputs()["rows"]
    (far, near), digest = asked(outputs["endpoint"], ROW, NEAR)
    assert 0 < far < 1
    assert 0 < near < 1
    assert digest == outputs["model_digest"]


@pytest.mark.parametrize("example", ["two_models"], indirect=True)
def test_two_models_answer_behind_one_url_by_their_weights(example, carried, another):
    first = carried.artifact("flow-train-model")
    assert first["digest"] != another["digest"]
    example.configure(model=first, port=example.port)
    example.up()
    url = example.outputs()["url"]
    assert {asked(url, {**ROW, "weight": n})[1] for n in range(1, 20)} == {first["digest"]}
    example.configure(model=another, traffic={"latest": 50, "previous": 50})
    example.up()
    answered = {asked(url, {**ROW, "weight": n})[1] for n in range(1, 60)}
    assert answered == {first["digest"], another["digest"]}
