"""What `make up` asks of a CLI that is on PATH; one that is played."""

import os

import pytest

from tests.conftest import Project

PULUMI = """#!/bin/sh
echo "$1 $PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION" >> {asked}
case "$1" in
    version) echo v3.999.0 ;;
    stack) echo '{{"deployment": {{}}}}' ;;
    *) exit 1 ;;
esac
"""


@pytest.mark.parametrize(("stack", "fetched"), [("local", False), ("cluster", True)])
def test_a_local_stack_fetches_no_plugin_and_any_other_may(stack, fetched, tmp_path, monkeypatch):
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name in ("pulumi", "pulumi-language-python"):
        (bin_ / name).write_text(PULUMI.format(asked=tmp_path / "asked"))
        (bin_ / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    project = Project(tmp_path, stack)
    if fetched:
        images = {f"{role}_image": f"registry.test/{role}@sha256:{'0' * 64}" for role in ("trainer", "serving")}
        project.configure(platform="cluster", cluster={"kubeconfig": "/nowhere", **images})
    assert "not finished" in project.run("up", expected=1)
    (up,) = [line for line in (tmp_path / "asked").read_text().splitlines() if line.startswith("up")]
    assert up == ("up " if fetched else "up true")
