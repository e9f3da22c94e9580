"""What `make audit` tells, with a pip-audit that says what it is told to."""

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[3]
OWN = ("tests/", "benchmarks/", "tools/")
"""Locks of what nobody runs to deploy or serve."""


@pytest.fixture
def audit(tmp_path, monkeypatch):
    """The tool, on a lock of two packages; `known` and `silent` say what pip-audit answers of them."""
    spec = importlib.util.spec_from_file_location("audit", PROJECT / "tools/audit/__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.PROJECT, module.BILLS, module.LOCKS = tmp_path, tmp_path / ".sbom", ("requirements.txt",)
    (tmp_path / "requirements.txt").write_text("one==1.0 \\\n    --hash=sha256:0\ntwo[extra]==2.0\n")
    module.known, module.silent = {}, ""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)

    def run(command, **_):
        if "pip_audit" not in command:
            return subprocess.CompletedProcess(command, 0)
        asked = dict(line.split("==") for line in Path(command[4]).read_text().split())
        told = [
            {"name": name, "version": version, "vulns": [{"id": each} for each in module.known.get(name, ())]}
            for name, version in asked.items()
        ]
        if module.silent:
            told = [{"name": name, "skip_reason": module.silent} for name in asked]
        return subprocess.CompletedProcess(command, 0, json.dumps({"dependencies": told}), "")

    monkeypatch.setattr(module.subprocess, "run", run)
    return module


def test_where_nothing_is_known_all_packages_were_asked_about(audit, capsys):
    assert audit.main() == 0
    assert "audit: all packages were asked about" in capsys.readouterr().out


def test_what_is_known_is_told_and_fails(audit, capsys):
    audit.known = {"two": ["CVE-2026-1", "CVE-2026-2"]}
    assert audit.main() == 1
    assert "audit: two 2.0: CVE-2026-1 CVE-2026-2" in capsys.readouterr().out


@pytest.mark.parametrize(("github", "code"), [("", 0), ("true", 1)])
def test_a_service_that_cannot_be_reached_is_told_and_fails_where_it_can_be(audit, capsys, monkeypatch, github, code):
    monkeypatch.setenv("GITHUB_ACTIONS", github)
    audit.silent = "no such host"
    assert audit.main() == code
    assert "audit: NOT RUN: known vulnerabilities of 1 packages: no such host" in capsys.readouterr().out


def test_every_lock_of_what_is_run_is_looked_at(audit, monkeypatch):
    monkeypatch.undo()
    text = (PROJECT / "tools/audit/__main__.py").read_text()
    command = ["git", "ls-files", "*requirements*.txt"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    locks = [each for each in listed if not each.startswith(OWN) and "-test" not in each]
    assert "modules/penstock/gcp/guard_function/requirements.txt" in locks
    assert [each for each in locks if f'"{each}"' not in text] == ["notebooks/requirements.txt"]
    kernel, lab = (set(audit.pins(PROJECT / f"notebooks/{name}.txt")) for name in ("requirements", "requirements-lab"))
    assert kernel <= lab, "the lab's lock holds the kernel's"
