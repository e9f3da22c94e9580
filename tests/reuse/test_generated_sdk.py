"""The SDKs that Pulumi's own generator makes of the schema, and a program that has one of them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import go_build
import package_sdk
import pytest

from tests.reuse.conftest import CHECKOUT, consuming, run_uv
from tests.reuse.test_own_repository import ROW, asked

COMPONENTS = {
    token.rpartition(":")[2] for token in json.loads((CHECKOUT / "modules/schema.json").read_text())["resources"]
}


@pytest.fixture(scope="module", params=package_sdk.LANGUAGES)
def generated(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    package_sdk.write(request.param, folder)
    return request.param, folder


def test_each_language_s_sdk_has_a_file_for_every_component(generated):
    language, folder = generated
    suffix = {"go": ".go", "python": ".py"}[language]
    assert {name.lower() + suffix for name in COMPONENTS} <= {file.name.lower() for file in folder.rglob(f"*{suffix}")}


@pytest.fixture
def consumer(tmp_path, environments, foreign):
    package_sdk.write("python", tmp_path / "sdk")
    own = tmp_path / "own"
    run_uv("venv", "--python", sys.executable, own)
    lock = CHECKOUT / "modules/requirements.txt"
    run_uv("pip", "install", "--python", own / "bin/python", "--constraint", lock, tmp_path / "sdk")
    # Dynamic resources run in the deploying program's Python: there, not in the program, is `penstock` needed.
    others = next(foreign.glob("lib/python*/site-packages"))
    (next(own.glob("lib/python*/site-packages")) / "others.pth").write_text(f"{others}\n")
    folder = tmp_path / "generated"
    shutil.copytree(Path(__file__).parent / "generated", folder)
    with consuming(folder, {**environments, "modules": own}, foreign) as program:
        yield program


def test_a_program_with_a_generated_sdk_serves_a_model_through_the_real_engine(consumer, carried):
    model = carried.artifact("flow-train-model")
    consumer.configure(model=model, port=consumer.port, platform={"local": {"serving": "serving/.venv"}})
    consumer.up()
    outputs = consumer.outputs()
    assert outputs["url"] == f"{outputs['base']}/v1/models/late"
    assert asked(outputs["url"], ROW)[1] == model["digest"]
    assert "unchanged" in consumer.up()


@pytest.fixture
def in_go(tmp_path, environments, foreign):
    """A Go program, built with the SDK; it starts the engine itself, so no language host for Go is needed."""
    folder = tmp_path / "generated_go"
    shutil.copytree(Path(__file__).parent / "generated_go", folder)
    package_sdk.write("go", folder)
    go_build.build(folder, ".", folder / "program")
    with consuming(folder, environments, foreign) as program:
        yield program


def test_a_go_program_serves_a_model_through_the_real_engine(in_go, carried):
    model = carried.artifact("flow-train-model")
    in_go.configure(model=model, port=in_go.port)
    for _ in range(2):
        command, own = [in_go.folder / "program"], in_go.environment
        done = subprocess.run(command, cwd=in_go.folder, env=own, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "unchanged" in done.stdout
    assert asked(in_go.outputs()["url"], ROW)[1] == model["digest"]
