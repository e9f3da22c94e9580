"""The study on a real PostgreSQL server."""

import json
import signal
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from penstock_trainer import study_storage
from penstock_trainer.errors import InputError

from . import _postgresql
from ._cheap_study import CheapStudy
from ._processes import read_until

CHEAP = Path(__file__).with_name("_cheap_study.py")


@pytest.fixture(scope="module")
def server():
    with _postgresql.running() as found:
        yield found


def database(server, name):
    """A database of its own, so that each test has its study."""
    with psycopg.connect(server.url, password=server.password, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return server.url.removesuffix("postgres") + name


def results(url, server, monkeypatch, trials):
    monkeypatch.setenv("PGPASSWORD", server.password)
    return CheapStudy(study_storage.PostgreSQL(url), trials).results()


def none_lost_or_counted_twice(trials, wanted):
    """Of `wanted` finished trials no two are the same, and what a dead process was to try was tried again, once."""
    finished = [trial for trial in trials if trial["state"] in ("COMPLETE", "PRUNED")]
    failed = {trial.get("retry_of", trial["number"]) for trial in trials if trial["state"] == "FAIL"}
    assert failed
    assert len(finished) == len({str(trial["hyperparameters"]) for trial in finished}) == wanted
    assert sorted(trial["retry_of"] for trial in finished if "retry_of" in trial) == sorted(failed)


def test_by_heartbeat_a_killed_process_s_trial_is_found_and_run_again_once(server, start, monkeypatch):
    url = database(server, "killed")
    workers = [start(CHEAP, url, 5, 0.3, environment=server.environment) for _ in range(2)]
    read_until(workers[0], "begins")
    workers[0].kill()
    read_until(workers[1], "its process is gone; another takes its place")
    read_until(workers[1], "ended with 5")
    none_lost_or_counted_twice(results(url, server, monkeypatch, 5)["trials"], 5)


def test_a_process_that_was_silent_too_long_gives_its_trial_up_and_works_on(server, start, monkeypatch):
    url = database(server, "silent")
    silent, other = (start(CHEAP, url, 12, 0.4, environment=server.environment) for _ in range(2))
    read_until(silent, "begins")
    silent.send_signal(signal.SIGSTOP)
    read_until(other, "its process is gone; another takes its place")
    silent.send_signal(signal.SIGCONT)
    read_until(silent, "this process was silent for too long; another took its place")
    for process in (silent, other):
        read_until(process, "ended with 12")
    none_lost_or_counted_twice(results(url, server, monkeypatch, 12)["trials"], 12)


def test_a_process_that_died_while_it_claimed_a_trial_leaves_none_behind(server, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", server.password)
    storage = study_storage.PostgreSQL(database(server, "claiming"))
    study = CheapStudy(storage, 2)
    with pytest.warns(UserWarning, match="Heartbeat"):
        study.study.ask()  # and no word of who runs it
    study.work()
    states = [trial["state"] for trial in study.results()["trials"]]
    assert states == ["FAIL", "COMPLETE", "COMPLETE"]


def test_the_stage_shares_a_study_by_postgresql_and_never_shows_the_password(server, start, dataset, tmp_path):
    url = database(server, "stage")
    stage = ["-m", "penstock_trainer", "tune", "--problem", "flights", "--artifacts", tmp_path, "--storage", url]
    stage += ["--dataset", dataset.path, "--trials", 2, "--epochs", 1]
    trial = start(*stage, environment={**server.environment, "PENSTOCK_ROLE": "trial"})
    chief = start(*stage, environment={**server.environment, "PENSTOCK_RESULT": str(tmp_path / "result.json")})
    said = ""
    for process in (chief, trial):
        command = Path(f"/proc/{process.pid}/cmdline")
        if command.exists():
            assert server.password not in command.read_text()
        out, _ = process.communicate(timeout=900)
        assert process.returncode == 0, out
        said += out
    assert server.password not in said
    result = json.loads((tmp_path / "result.json").read_text())
    assert sum(result["counts"].values()) == 2
    kept = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(server.password in content for content in kept)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:secret@127.0.0.1/x", "storage holds a password"),
        ("postgresql://me@127.0.0.1/x?password=secret", "storage holds a password"),
        ("mysql://me@127.0.0.1/x", "expected postgresql://"),
        ("study.db", "storage is no URL"),
        ("postgresql://me@127.0.0.1:1/x", "storage postgresql://me@127.0.0.1:1/x: .*refused"),
    ],
)
def test_an_address_that_will_not_do_is_refused_without_a_secret_in_the_message(tmp_path, url, said):
    with pytest.raises(InputError, match=said) as refused:
        study_storage.connect(url, tmp_path)
    assert "secret" not in str(refused.value)


def test_a_wrong_password_is_an_input_error_that_does_not_repeat_it(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "not-the-one")
    with pytest.raises(InputError, match="password authentication failed") as refused:
        study_storage.connect(server.url, tmp_path)
    assert "not-the-one" not in str(refused.value)
