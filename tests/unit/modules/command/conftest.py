"""What stands beside the command on a person's machine."""

import os

import pytest

FAKE = """#!/bin/sh
echo "$@" > {folder}/asked
cp "$2" {folder}/kubeconfig
stat -c %a "$2" > {folder}/mode
echo "<html>"
"""


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """A kubectl that writes down what it is asked, and with which kubeconfig, and answers with a page."""
    program = tmp_path / "kubectl"
    program.write_text(FAKE.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path
