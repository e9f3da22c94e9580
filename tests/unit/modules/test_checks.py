"""Which checks a word asks for, and how what was not run is told."""

import checks


def chosen(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["checks.py", *words])
    return [name for name, *_ in checks._wanted((*checks.ALONE, *checks.CLUSTERS))]


def test_checks_are_asked_for_by_words_of_their_names_and_left_out_in_the_same_way(monkeypatch):
    assert chosen(monkeypatch) == ["engine and infra", "pods", "cluster"]
    assert chosen(monkeypatch, "pods") == ["pods"]
    assert chosen(monkeypatch, "--without", "pods") == ["engine and infra", "cluster"]
    assert chosen(monkeypatch, "cluster", "engine", "--without", "infra") == ["cluster"]


def test_what_is_not_run_is_said_again_at_the_end_where_somebody_collects_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PENSTOCK_NOT_RUN", str(tmp_path / "told"))
    checks._not_run("NOT RUN: pods: no root")
    assert (tmp_path / "told").read_text() == capsys.readouterr().out == "NOT RUN: pods: no root\n"
