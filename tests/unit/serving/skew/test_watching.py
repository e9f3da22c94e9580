"""Windows in a row: what is skew, since when, and in which words."""

import json
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from penstock_serving.plan import Rollout
from penstock_serving.rollout import Seen, gates
from penstock_serving.skew.comparison import Rules
from penstock_serving.skew.simulating import Draw, simulate, simulate_apart
from penstock_serving.skew.watching import Watch
from penstock_serving.skew.windows import PREDICTIONS, UNKNOWN
from penstock_serving.tally import Tally


def judged(watch: Watch, window, rows_of_windows):
    return watch.judge({f"{place:03d}": window(rows, place) for place, rows in enumerate(rows_of_windows)})


@pytest.fixture
def quiet(draw):
    """Six windows of 1,000 rows in which nothing is different."""
    return [draw(1000, 100 + seed) for seed in range(6)]


def test_nothing_is_said_before_there_are_rows_enough(watch, window, draw):
    verdict = judged(watch(), window, [draw(90, 1), draw(90, 2)])
    assert (verdict.status, verdict.excess, verdict.waiting_rows) == ("waiting", 0.0, 180)
    assert judged(watch(), window, [draw(90, seed) for seed in range(3)]).status == "quiet"


def test_the_training_distribution_is_quiet(watch, window, quiet):
    verdict = judged(watch(), window, quiet)
    assert (verdict.status, verdict.said) == ("quiet", [])
    assert 0 < verdict.excess <= 1


def test_a_unit_that_changed_is_said_in_standard_deviations_with_the_time_since_when(watch, window, quiet):
    for rows in quiet[4:]:
        rows["distance"] = rows["distance"] * 1.609
    verdict = judged(watch(), window, quiet)
    assert verdict.status == "skew"
    assert verdict.said == [verdict.sentence("distance")]
    shift = verdict.stretches[-1].measures["distance"]["mean_shift"].value
    assert verdict.said[0].startswith(
        f"mean of `distance` moved by +{shift:.1f} standard deviations and its variance grew 2."
    )
    assert verdict.said[0].endswith("since 00:20 UTC on 1970-01-01")
    assert verdict.excess > 1


def test_one_window_alone_is_moved_and_not_yet_skew(watch, window, quiet):
    quiet[5]["distance"] = quiet[5]["distance"] * 1.609
    verdict = judged(watch(), window, quiet)
    assert (verdict.status, verdict.said, verdict.column_status("distance")) == ("moved", [], "moved")
    assert judged(watch(windows_in_a_row=1), window, quiet).status == "skew"


def test_what_was_skew_and_is_over_is_quiet(watch, window, quiet):
    for rows in quiet[:5]:
        rows["distance"] = rows["distance"] * 1.609
    assert judged(watch(), window, quiet).status == "quiet"


def test_a_column_gone_missing_is_said(watch, window, quiet):
    for rows in quiet[4:]:
        rows["temp"] = np.full_like(rows["temp"], np.nan)
    (said,) = judged(watch(), window, quiet).said
    assert said.startswith("`temp` is missing in 100 % of the rows, in training in 2.9 % since")


def test_a_new_category_is_said_by_name_only_where_several_rows_have_it(watch, window, quiet):
    for rows in quiet[4:]:
        rows["origin"][:150] = "HPN"
        rows["origin"][150:155] = "N14228"
    (said,) = judged(watch(), window, quiet).said
    assert said.startswith('`origin` has categories that training never had in 16 % of the rows ("HPN")')
    assert "N14228" not in said


def test_a_slow_drift_is_found_when_it_has_gone_far_enough_and_not_before(watch, window, draw):
    judge, windows, states = watch(), {}, []
    for place in range(24):
        rows = draw(1000, 200 + place)
        rows["temp"] = rows["temp"] + 18 * 0.03 * place  # three hundredths of a deviation a window
        windows[f"{place:03d}"] = window(rows, place)
        states.append(judge.judge(windows).status)
    assert set(states[:6]) == {"quiet"}
    assert set(states[12:]) == {"skew"}


def test_an_ignored_column_is_measured_but_alerts_nobody(watch, window, quiet):
    for rows in quiet:
        rows["month"] = np.full_like(rows["month"], 12)
    assert judged(watch(), window, quiet).status == "skew"
    verdict = judged(watch(ignored=frozenset(["month"])), window, quiet)
    assert (verdict.status, verdict.said, verdict.column_status("month")) == ("quiet", [], "ignored")
    assert verdict.excess <= 1
    assert verdict.to_json()["columns"]["month"]["measures"]["mean_shift"]["exceeded"]


def test_a_column_that_is_constant_in_a_window_leaves_every_number_finite_and_the_gate_of_a_rollout_at_work(
    watch, window, draw
):
    """As a month that is not ignored: it is so for the old version of the model and for the new one alike."""
    answered = Tally()
    for _ in range(500):
        answered.answered(200, 0.001, [0.5])
    for rows in (stable := draw(1000, 1)), (new := draw(1000, 1)):
        rows["month"] = np.full_like(rows["month"], 7)
        rows["temp"] = np.full_like(rows["temp"], np.nan)
    new["origin"] = np.full_like(new["origin"], "HPN")
    old, moved = (judged(watch(), window, [rows, rows]) for rows in (stable, new))
    assert old.stretches[-1].measures["month"]["variance_ratio"].value == 0
    json.dumps(old.to_json(), allow_nan=False)
    seen = Seen(answered, answered, old_skew=old.lasting, new_skew=old.lasting)
    assert not gates(Rollout(), seen)["skew"]["broken"]
    gate = gates(Rollout(), replace(seen, new_skew=moved.lasting))["skew"]
    assert (gate["broken"], gate["column"], gate["value"] < 100) == (True, "origin", True)


def test_a_world_that_has_moved_is_no_fault_of_a_version_that_sees_little_of_it(watch, window, draw):
    """Its few rows are by chance farther from training than the many of the version before it, or nearer."""
    answered = Tally()
    for _ in range(500):
        answered.answered(200, 0.001, [0.5])
    farthest = 0.0
    for seed in range(0, 80, 4):
        windows = [draw(rows, seed + place) for place, rows in enumerate((3000, 3000, 300, 300))]
        for rows in windows:
            rows["distance"] = rows["distance"] * 1.609
            rows["temp"] = rows["temp"] + 18
        old, new = (judged(watch(), window, rows).lasting for rows in (windows[:2], windows[2:]))
        assert min(old["distance"], old["temp"]) > 1
        farthest = max(farthest, *(new[name] / old[name] for name in ("distance", "temp")))
        assert not gates(Rollout(), Seen(answered, answered, old_skew=old, new_skew=new))["skew"]["broken"]
    assert farthest > 1.1, "by chance"


def test_what_moved_for_one_window_only_is_no_reason_to_roll_back(watch, window, quiet):
    quiet[5]["distance"] = quiet[5]["distance"] * 1.609
    once = judged(watch(), window, quiet)
    assert once.excess > 1 > once.lasting["distance"]
    assert judged(watch(), window, quiet[5:]).lasting == {}, "one window is not enough to tell"
    assert "distance" not in judged(watch(ignored={"distance"}), window, quiet).lasting


def test_replicas_are_judged_together(watch, window, draw):
    """Neither of two has rows enough alone; nor do the windows of different times make one row of them."""
    windows = {}
    for place in range(2):
        for replica in ("a", "b"):
            rows = draw(120, place * 7 + ord(replica))
            rows["distance"] = rows["distance"] * 3
            windows[f"{place}-{replica}"] = window(rows, place)
    verdict = watch().judge(windows)
    assert [stretch.window.rows for stretch in verdict.stretches] == [240, 240]
    assert verdict.status == "skew"


def test_the_windows_judged_are_left_as_they_are_and_compared_once(watch, window, quiet):
    windows = {str(place): window(rows, place) for place, rows in enumerate(quiet)}
    judge = watch()
    first = judge.judge(windows)
    again = judge.judge(windows)
    assert [stretch.window.rows for stretch in again.stretches] == [1000] * 6
    assert all(a is b for a, b in zip(first.stretches, again.stretches, strict=True))
    assert windows["0"].columns["distance"].count == 1000


def test_noise_floors_that_another_process_has_found_out_are_not_simulated_again(
    training, window, quiet, statistics, monkeypatch
):
    windows, columns = {"000": window(quiet[0], 0)}, statistics(training)
    first = Watch(columns, None, Rules())
    measures = first.judge(windows).stretches[-1].measures
    known = json.loads(json.dumps(first.simulated))
    monkeypatch.setattr(np.random, "default_rng", None)
    assert Watch(columns, None, Rules(), known).judge(windows).stretches[-1].measures == measures
    with pytest.raises(TypeError):  # of another chance they are others
        Watch(columns, None, Rules(chance=0.01), known).judge(windows)


def test_noise_floors_of_a_process_of_their_own_are_those_that_are_simulated_here(training, window, quiet, statistics):
    columns, apart, draws = statistics(training), {}, {}

    def simulated(wanted):
        draws.update(wanted)
        apart.update(simulate_apart(wanted))
        return apart

    judged(Watch(columns, None, Rules(), simulate=simulated), window, quiet)
    assert {key.split()[0] for key in apart} == {*columns}
    assert apart == simulate(draws)


def test_where_no_process_can_be_had_noise_floors_are_simulated_in_this_one(monkeypatch, caplog):
    draws = {"origin": Draw(1, [40.0, 30.0, 30.0], 100, 50, 0.001)}
    for program, said in (("/nowhere/python", "No such file"), ("/bin/false", "exit status 1")):
        monkeypatch.setattr(sys, "executable", program)
        assert simulate_apart(draws) == simulate(draws)
        assert said in caplog.records[-1].fields["reason"]


def test_predictions_that_moved_are_found(training, window, quiet, statistics):
    predictions = statistics({"predictions": np.random.default_rng(0).beta(2, 5, 5000).astype(np.float32)})[PREDICTIONS]
    verdict = judged(Watch(statistics(training), predictions, Rules()), window, quiet)
    assert verdict.status == "skew"  # the windows' predictions are all 0.25
    assert verdict.said[0].startswith("variance of `predictions` fell to 0")


def test_the_report_has_both_sides_over_the_same_cells_and_is_json(watch, window, quiet):
    report = json.loads(json.dumps(judged(watch(), window, quiet).to_json(), allow_nan=False))
    assert report["rows"] == 1000
    for name, column in report["columns"].items():
        cells = len(column["edges"]) + 1 if "edges" in column else len(column["words"])
        for side in ("training", "serving"):
            assert len(column[side]["shares"]) == cells, name
            assert sum(column[side]["shares"]) == pytest.approx(1, abs=1e-3), name
    assert report["columns"]["origin"]["words"] == ["EWR", "JFK", "LGA", "other", "unseen in training"]


def test_rows_that_are_refused_are_skew_of_the_column_at_fault_beside_what_the_answered_ones_show(watch, window, quiet):
    windows = {f"{place:03d}": window(rows, place) for place, rows in enumerate(quiet)}
    for late in list(windows.values())[3:]:
        late.refused = {"month": Counter(value=60, type=40), UNKNOWN: Counter(unknown=900), "dest": Counter(missing=50)}
    verdict = watch().judge(windows)
    assert [said.partition(" since ")[0] for said in verdict.said] == [
        "44 % of the rows are refused for a column that the model does not have"
    ], "under 5 % are refused for the others"
    assert verdict.stretches[-1].measures["month"]["refused"].value == 100 / 2050
    assert "psi" in verdict.stretches[-1].measures["month"], "1,000 rows were answered"
    for late in list(windows.values())[3:]:
        late.refused["month"]["value"] += 400
    verdict = watch().judge(windows)
    assert verdict.sentence("month").startswith(
        "20 % of the rows are refused for `month`, which has a value that does not fit or is of another type since"
    )
    few = {"000": window({name: values[:150] for name, values in quiet[0].items()}, 0)}
    few["000"].refused = {"dest": Counter(missing=150)}
    assert watch().judge(few).status == "waiting"
    few["000"].refused = {"dest": Counter(missing=250)}
    verdict = watch().judge(few)
    assert verdict.stretches[-1].measures.keys() == {"dest"}, "150 answered rows are too few to compare"
