"""The images' recipes, and how they come into a stack's repository: Docker's part is played by a script."""

import json
import os
import re
from itertools import pairwise
from pathlib import Path

import images
import pytest
import yaml
from common import ToolError

from penstock.gcp.environment import Environment

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDERS = ("trainer", "serving")
DOCKER = """#!/usr/bin/env python3
import hashlib, json, os, sys
call = sys.argv[1:]
with open(os.environ["DOCKER_CALLS"], "a") as file:
    file.write(json.dumps(call) + "\\n")
if call[0] == os.environ.get("DOCKER_FAILS"):
    sys.exit(1)
digest = lambda text: "sha256:" + hashlib.sha256(text.encode()).hexdigest()
if call[0] == "build":
    print(digest(call[call.index("-f") + 1]))
elif call[0] == "image":
    print(json.dumps([call[-1].rpartition(":")[0] + "@" + digest(call[-1]), "elsewhere@" + digest("elsewhere")]))
"""


def environment():
    return Environment(**yaml.safe_load((CHECKOUT / "stacks/Pulumi.dev.yaml").read_text())["config"]["penstock:gcp"])


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Docker, as a script that notes its calls, and a table of bases of the test's own."""
    script = tmp_path / "bin" / "docker"
    script.parent.mkdir()
    script.write_text(DOCKER)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_CALLS", str(tmp_path / "calls"))
    bases = tmp_path / "images.json"
    bases.write_text((CHECKOUT / "tools/images.json").read_text())
    monkeypatch.setattr(images, "BASES", bases)

    def calls():
        found = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
        (tmp_path / "calls").unlink()
        return found

    return calls


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_an_image_copies_is_there_and_reaches_the_builder(folder):
    text = (CHECKOUT / folder / "Dockerfile").read_text()
    lock = re.search(r"^ARG LOCK=(\S+)$", text, re.MULTILINE)
    assert lock
    sources = re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE)
    sources = [source.replace("${LOCK}", lock[1]) for source in sources]
    assert f"{folder}/{lock[1]}" in sources
    assert f"{folder}/penstock_{folder}" in sources
    taken = [line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in sources:
        assert (CHECKOUT / source).exists(), source
        assert any(re.fullmatch(pattern.replace("*", "[^/]*"), source) for pattern in taken), source
    assert "--hash=sha256:" in (CHECKOUT / folder / lock[1]).read_text()
    stages = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert set(stages) <= {"${PYTHON}", "${BEAM}"}, "each base is an argument, which `make images` pins"


def test_dataflow_s_workers_start_the_beam_that_the_lock_has():
    text = (CHECKOUT / "trainer/Dockerfile").read_text()
    locked = re.search(r"^apache-beam==(\S+)", (CHECKOUT / "trainer/requirements.txt").read_text(), re.MULTILINE)
    named = dict(images.ARGUMENT.findall(text))
    assert locked
    assert named["BEAM"] == f"apache/beam_python{named['PYTHON'].partition(':')[2].partition('-')[0]}_sdk:{locked[1]}"
    assert 'ENTRYPOINT ["/opt/apache/beam/boot"]' in text
    assert set(json.loads((CHECKOUT / "tools/images.json").read_text())) == set(named.values())


def test_images_are_built_on_pinned_bases_pushed_and_named_by_the_digest_that_the_registry_tells(docker, tmp_path):
    names = images.made(environment())
    place = "us-central1-docker.pkg.dev/penstock-dev-example/images"
    assert {setting: name.partition("@")[0] for setting, name in names.items()} == {
        "trainer_image": f"{place}/trainer",
        "server_image": f"{place}/serving",
    }
    calls = docker()
    builds = [call for call in calls if call[0] == "build"]
    for call in builds:
        pinned = [each for before, each in pairwise(call) if before == "--build-arg"]
        assert pinned
        assert all(re.fullmatch(r"(PYTHON|BEAM)=\S+@sha256:[0-9a-f]{64}", each) for each in pinned)
    assert [call[0] for call in calls][-4:] == ["build", "tag", "push", "image"]
    assert [call[-1] for call in calls if call[0] == "pull"] == [
        "python:3.11-slim",
        "apache/beam_python3.11_sdk:2.77.0",
    ]

    file = tmp_path / "Pulumi.dev.yaml"
    before = (CHECKOUT / "stacks/Pulumi.dev.yaml").read_text()
    file.write_text(before)
    images.write(file, names)
    written = yaml.safe_load(file.read_text())["config"]["penstock:gcp"]
    assert {setting: written[setting] for setting in names} == names
    changed = [
        line for line, old in zip(file.read_text().splitlines(), before.splitlines(), strict=True) if line != old
    ]
    assert len(changed) == 2, "and nothing else, comments included"

    images.made(environment())
    assert not [call for call in docker() if call[0] == "pull"], "the bases stay what they were"


def test_a_build_that_fails_pushes_nothing_and_names_nothing(docker, monkeypatch):
    monkeypatch.setenv("DOCKER_FAILS", "build")
    with pytest.raises(ToolError, match=r"`docker build .* failed \(exit code 1\)"):
        images.made(environment())
    assert "push" not in {call[0] for call in docker()}
