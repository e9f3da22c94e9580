"""Which checks a word asks for, and how what was not run is told."""

import checks
import pytest
from common import ToolError

from tests.conftest import pytest_runtest_logreport


def chosen(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["checks.py", *words])
    return [name for name, *_ in checks._wanted((*checks.ENGINE, *checks.CLUSTERS))]


def test_checks_are_asked_for_by_words_of_their_names(monkeypatch):
    assert chosen(monkeypatch) == ["engine", "engine: own projects", "pods", "cluster"]
    assert chosen(monkeypatch, "pods") == ["pods"]
    assert chosen(monkeypatch, "cluster", "own") == ["engine: own projects", "cluster"]


def test_a_word_that_no_check_has_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr("sys.argv", ["checks.py", "lint", "modle"])
    with pytest.raises(ToolError, match="no check's name has 'modle' in it; there are: lint, format"):
        checks.main()


def test_what_is_not_run_is_said_again_at_the_end_where_somebody_collects_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PENSTOCK_NOT_RUN", str(tmp_path / "told"))
    checks._not_run("NOT RUN: pods: no root")
    assert (tmp_path / "told").read_text() == capsys.readouterr().out == "NOT RUN: pods: no root\n"


def test_a_test_for_which_something_is_missing_is_said_again_at_the_end_once(monkeypatch, tmp_path):
    monkeypatch.setenv("PENSTOCK_NOT_RUN", str(tmp_path / "told"))
    for why in ("NOT RUN: there is no ssh", "NOT RUN: there is no ssh", "there is no release yet"):
        made = {"nodeid": "tests/a.py::test_it", "location": ("a.py", 1, "test_it"), "keywords": {}, "when": "setup"}
        report = pytest.TestReport(**made, outcome="skipped", longrepr=("a.py", 1, f"Skipped: {why}"))
        pytest_runtest_logreport(report)
    assert (tmp_path / "told").read_text() == "NOT RUN: tests/a.py: there is no ssh\n"


def test_what_a_controller_is_needed_for_is_run_where_it_is_built_and_else_said_not_to_be(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["checks.py"])
    monkeypatch.delenv(checks.TOLD, raising=False)  # or CI, which runs this, would say so of itself
    monkeypatch.setattr(checks.stages, "unbuilt", lambda: ["keda"])
    pods, cluster = (command for _, _, command in checks._clusters())
    assert "tests/cluster/test_pipeline.py" in cluster
    assert cluster[-1] == "tests/cluster/costly/test_queue.py"
    assert "tests/pods/test_pipeline.py" in pods
    assert not [each for each in pods if "costly" in each]
    told = "NOT RUN: tests/pods/costly/test_autoscaling.py: keda is not built (make test-cluster-all builds it)\n"
    assert capsys.readouterr().out == told
