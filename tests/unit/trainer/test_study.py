"""The study itself, with trials that learn nothing."""

import json
import os
import random
import statistics
import time
from pathlib import Path

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from penstock_trainer.errors import InputError
from penstock_trainer.progress import Epoch
from penstock_trainer.study_limits import Limits
from penstock_trainer.study_storage import Journal

from ._cheap_study import SPACE, CheapStudy
from ._processes import read_until

CHEAP = Path(__file__).with_name("_cheap_study.py")


def test_of_processes_killed_at_random_no_trial_is_lost_or_counted_twice(tmp_path, start):
    dice = random.Random(7)
    workers = [start(CHEAP, tmp_path, 24, 0.15) for _ in range(3)]
    for worker in workers[:2]:
        read_until(worker, "begins")
        time.sleep(dice.random())
        worker.kill()
    late = start(CHEAP, tmp_path, 24, 0.15)
    for worker in (workers[2], late):
        read_until(worker, "ended with 24")
        assert worker.wait(60) == 0
    trials = CheapStudy(Journal(tmp_path), 24).results()["trials"]
    finished = [trial for trial in trials if trial["state"] in ("COMPLETE", "PRUNED")]
    failed = [trial for trial in trials if trial["state"] == "FAIL"]
    assert len(finished) == 24
    assert 1 <= len(failed) <= 2  # a process may be hit between two trials
    asked = [json.dumps(trial["hyperparameters"]) for trial in finished]
    assert len(set(asked)) == 24
    for trial in failed:  # what it was to try, as far as it got, was finished once; a retry may be hit as well
        first = trial.get("retry_of", trial["number"])
        (retry,) = [each for each in finished if each.get("retry_of") == first]
        assert trial["hyperparameters"].items() <= retry["hyperparameters"].items()


def test_an_interrupted_trial_is_tried_again_with_the_same_hyperparameters_and_seed(tmp_path):
    class Interrupted(CheapStudy):
        def pretend(self, hyperparameters, seed):
            for epoch in super().pretend(hyperparameters, seed):
                yield epoch
                if len(self.begun) == 2:
                    raise SystemExit(143)

    first = Interrupted(Journal(tmp_path), 3, epochs=3)
    with pytest.raises(SystemExit):
        first.work()
    second = CheapStudy(Journal(tmp_path), 3, epochs=3)
    second.work()
    assert second.begun[0] == first.begun[-1]
    states = [trial["state"] for trial in second.results()["trials"]]
    assert states.count("COMPLETE") + states.count("PRUNED") == 3


def test_a_trial_under_which_processes_keep_dying_gives_way_to_another(tmp_path):
    class Deadly(CheapStudy):
        def pretend(self, hyperparameters, seed):
            if seed == 0:
                raise MemoryError
            return super().pretend(hyperparameters, seed)

    for _ in range(3):
        with pytest.raises(MemoryError):
            Deadly(Journal(tmp_path), 2).work()
    study = Deadly(Journal(tmp_path), 2)
    study.work()
    trials = study.results()["trials"]
    assert [trial["state"] for trial in trials] == ["FAIL", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials[3]["hyperparameters"] != trials[0]["hyperparameters"]


def test_a_trial_that_diverges_is_given_up_with_its_reason_and_the_study_goes_on(tmp_path):
    class Diverging(CheapStudy):
        def pretend(self, hyperparameters, seed):
            if seed == 1:
                raise InputError("epoch 1: the loss is nan")
            if seed == 2:
                yield Epoch(1, 100, 10, {}, 0.5, 0.1, {"auc": float("nan")})
            yield from super().pretend(hyperparameters, seed)

    study = Diverging(Journal(tmp_path), 5)
    study.work()
    trials = study.results()["trials"]
    assert [trial.get("ended_by") for trial in trials[:4]] == [
        None,
        "epoch 1: the loss is nan",
        "epoch 1: validation auc is nan",
        None,
    ]
    assert len(trials) == 5


def test_a_study_all_of_whose_trials_diverge_says_why(tmp_path):
    class Diverging(CheapStudy):
        def pretend(self, hyperparameters, seed):
            raise InputError("epoch 1: the loss is nan")

    study = Diverging(Journal(tmp_path), 2)
    study.work()
    with pytest.raises(InputError, match="no trial of 2 was finished: epoch 1: the loss is nan"):
        study.results()


def test_a_time_limit_ends_the_study_with_what_is_finished_and_stops_the_trial_under_way(tmp_path):
    study = CheapStudy(Journal(tmp_path), 100, seconds=0.2, limits=Limits(seconds=1.0))
    study.work()
    study.wait()
    results = study.results()
    assert "the time limit of 1 s was reached" in results["stopped"]
    assert results["seconds"] == pytest.approx(1.1, abs=0.4)
    assert 1 <= len(results["trials"]) < 10
    assert {trial["state"] for trial in results["trials"]} <= {"COMPLETE", "PRUNED"}
    assert results["best"]["value"] == max(t["value"] for t in results["trials"] if t["state"] == "COMPLETE")


def test_a_limit_reached_before_any_trial_is_finished_is_an_input_error(tmp_path):
    study = CheapStudy(Journal(tmp_path), 9, seconds=0.1, limits=Limits(usd=1, usd_per_hour=36_000_000))
    study.work()
    with pytest.raises(InputError, match="the cost limit of 1 USD was reached"):
        study.results()


def test_every_trial_keeps_its_hyperparameters_and_what_each_epoch_did(tmp_path):
    study = CheapStudy(Journal(tmp_path), 2, seconds=0.01)
    study.work()
    for trial in study.results()["trials"]:
        assert trial["hyperparameters"].keys() == study.search.space.keys()
        assert [epoch["number"] for epoch in trial["epochs"]] == [1, 2]
        assert trial["epochs"][0]["validation"] == {"auc": trial["value"], "log_loss": 0.5}
        assert trial["seconds"] >= 0.02


def test_a_trial_below_the_median_of_those_before_it_is_pruned_before_its_last_epoch(tmp_path):
    study = CheapStudy(Journal(tmp_path), 16, epochs=3)
    study.work()
    before, pruned = [], 0
    for trial in study.results()["trials"]:
        auc = trial["epochs"][0]["validation"]["auc"]
        worse = len(before) >= 4 and auc < statistics.median(before)
        assert (trial["state"], len(trial["epochs"])) == (("PRUNED", 1) if worse else ("COMPLETE", 3))
        before += [] if worse else [auc]
        pruned += worse
    assert pruned >= 2


def test_trials_are_drawn_where_earlier_ones_were_good_all_hyperparameters_together(tmp_path):
    study = CheapStudy(Journal(tmp_path), 24)
    study.work()
    last = study.study.trials[-1]
    assert study.study.sampler.infer_relative_search_space(study.study, last).keys() == SPACE.keys()
    # The higher the better, up to 0.005; the middle of what a random search draws is 0.001.
    assert statistics.median(hyperparameters["learning_rate"] for _, hyperparameters in study.begun[12:]) > 0.0025


def test_in_one_process_a_study_repeats_itself(tmp_path):
    studies = [CheapStudy(Journal(tmp_path / name), 8) for name in ("one", "other")]
    for study in studies:
        study.work()
    assert studies[0].begun == studies[1].begun


def test_a_line_that_a_full_disk_left_unfinished_does_not_spoil_the_journal(tmp_path):
    CheapStudy(Journal(tmp_path), 2).work()
    with (tmp_path / "journal.log").open("a") as journal:
        journal.write('{"op_code":5,"wor')
    study = CheapStudy(Journal(tmp_path), 4)
    study.work()
    assert len(study.study.get_trials(states=(TrialState.COMPLETE,))) == 4


def test_a_trial_waits_for_the_disk_once_when_it_ends_and_optuna_s_own_file_reads_what_it_left(tmp_path, monkeypatch):
    storage, synced, journal = Journal(tmp_path), [], tmp_path / "journal.log"
    study = CheapStudy(storage, 3)
    flush = os.fsync

    def fsync(file):
        synced.append(len(journal.read_text().splitlines()))
        flush(file)

    monkeypatch.setattr(os, "fsync", fsync)
    study.work()
    trials = JournalStorage(JournalFileBackend(str(journal))).get_all_trials(study.study._study_id)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    lines = journal.read_text().splitlines()
    ends = [json.loads(lines[number - 1])["op_code"] for number in synced]
    assert ends == [JournalOperation.SET_TRIAL_STATE_VALUES] * 3
    assert len(lines) > 10 * len(synced)


def test_where_no_new_trials_are_wanted_the_one_under_way_ends_and_the_study_with_it(tmp_path):
    closed = tmp_path / "no-new-trials"

    class Closing(CheapStudy):
        def pretend(self, hyperparameters, seed):
            for epoch in super().pretend(hyperparameters, seed):
                if len(self.begun) == 2:
                    closed.touch()
                yield epoch

    study = Closing(Journal(tmp_path), 6)
    study.closed = closed
    study.work()
    study.wait()
    results = study.results()
    assert [trial["state"] for trial in results["trials"]] == ["COMPLETE", "COMPLETE"]
    assert len(results["trials"][1]["epochs"]) == study.search.epochs
    assert results["stopped"] == f"no new trials: {closed} is there"

    closed.unlink()
    again = CheapStudy(Journal(tmp_path), 6)
    again.work()
    assert len(again.begun) == 4
    assert again.results()["stopped"] is None
