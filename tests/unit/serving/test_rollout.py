"""A rollout on simulated time and traffic."""

import json
import random
from dataclasses import replace

import pytest

from penstock_serving.plan import Plan, Rollout, Version
from penstock_serving.rollout import Progress, Seen, gates
from penstock_serving.routing import Routes
from penstock_serving.tally import Tally

ROLLOUT = Rollout(steps=(0, 1, 10, 50, 100), step_seconds=60, step_requests=200)


def plan(latest: str = "2", traffic: dict[str, float] | None = None, rollout: Rollout | None = ROLLOUT) -> Plan:
    versions = {number: Version(f"/models/{number}", f"sha256:{number}") for number in "123"}
    return Plan("r", "flights", versions, latest, traffic, rollout)


def did(requests: int, bad: float = 0.0, seconds: float = 0.002, mean: float = 0.3, seed: int = 1) -> Tally:
    """What a version did that answers `requests` requests with a normal score of deviation 0.1."""
    draw, tally = random.Random(seed), Tally()
    for _ in range(requests):
        failed = draw.random() < bad
        tally.answered(500 if failed else 200, seconds, None if failed else [draw.gauss(mean, 0.1)])
    return tally


def on_step(step: int) -> Progress:
    return Progress(stable="1", candidate="2", percent=ROLLOUT.steps[step], since=0.0)


def test_the_first_model_serves_at_once_and_a_later_one_by_the_steps_of_the_rollout():
    progress = Progress().aim(plan("1"), now=5.0)
    assert progress.routes(plan("1")) == Routes({"1": 100})
    progress = progress.aim(plan("2"), now=100.0)
    expected = [Routes({"1": 100}, "2"), *(Routes({"2": share, "1": 100 - share}) for share in (1, 10, 50))]
    now = 100.0
    for routes in expected:
        assert progress.routes(plan()) == routes
        assert progress.judged(ROLLOUT, now + 59, Seen(did(500), did(500, seed=2)))[0] == progress
        assert progress.judged(ROLLOUT, now + 61, Seen(did(500), did(199, seed=2)))[0] == progress
        now += 61
        progress, _ = progress.judged(ROLLOUT, now, Seen(did(500), did(500, seed=2)))
    assert (progress.stable, progress.candidate) == ("2", None)
    assert progress.routes(plan()) == Routes({"2": 100})
    assert [event["event"] for event in progress.events] == ["serves", "begun", *["advanced"] * 3, "promoted"]


@pytest.mark.parametrize(
    ("gate", "new"),
    [
        ("errors", did(300, bad=0.1)),
        ("errors", did(25, bad=1.0)),
        ("errors", did(300, mean=float("nan"))),
        ("latency", did(300, seconds=0.004)),
        ("score_shift", did(300, mean=0.4)),
    ],
)
def test_a_broken_gate_rolls_back_at_once_says_why_and_the_version_does_not_come_back_by_itself(gate, new):
    progress, found = on_step(2).judged(ROLLOUT, 1.0, Seen(did(3000, seed=7), new))
    assert found[gate]["broken"]
    assert progress.routes(plan()) == Routes({"1": 100})
    event = progress.events[-1]
    assert (event["event"], event["version"]) == ("rolled back", "2")
    assert event["why"].startswith(f"{gate} ")
    again = progress.aim(plan(), now=2.0)
    assert again.routes(plan()) == Routes({"1": 100})
    assert again.aim(plan("3"), now=3.0).candidate == "3"


def test_a_version_like_the_one_before_it_breaks_no_gate_whatever_chance_brings():
    broken = [
        name
        for seed in range(300)
        for name, gate in gates(
            ROLLOUT, Seen(did(400, bad=0.02, seed=seed), did(200, bad=0.02, seed=1000 + seed))
        ).items()
        if gate["broken"]
    ]
    assert broken == []


@pytest.mark.parametrize(("slow", "times"), [(0.008, 10.0), (0.02, 3.0)])
def test_latencies_of_one_kind_close_no_gate_however_far_their_tail_reaches(slow, times):
    """A quantile of 600 requests falls to one side of the tail or to the other."""

    def answered(seed: int) -> Tally:
        draw, tally = random.Random(seed), Tally()
        for _ in range(600):
            seconds = draw.lognormvariate(-6, 0.5) * (times if draw.random() < slow else 1)
            tally.answered(200, seconds, [draw.gauss(0.3, 0.1)])
        return tally

    found = [gates(ROLLOUT, Seen(answered(seed), answered(1000 + seed)))["latency"] for seed in range(300)]
    assert [gate for gate in found if gate["broken"]] == []
    assert any(gate["value"] > gate["limit"] for gate in found), "that chance does it"


def test_a_version_with_a_longer_tail_closes_it():
    """One in twenty takes ten times as long."""
    draw, new = random.Random(5), did(0)
    for _ in range(600):
        new.answered(200, 0.02 if draw.random() < 0.05 else 0.002, [draw.gauss(0.3, 0.1)])
    assert gates(ROLLOUT, Seen(did(600, seed=2), new))["latency"]["broken"]


@pytest.mark.parametrize("steps", [(0, 5, 100), (0, 50, 100), (100,), (20, 100)])
def test_other_steps_in_the_middle_of_a_rollout_change_nothing_of_how_far_it_is(steps):
    changed = replace(ROLLOUT, steps=steps)
    progress = on_step(2).aim(plan(rollout=changed), now=9.0)
    assert progress.routes(plan(rollout=changed)) == Routes({"2": 10, "1": 90})
    waiting, _ = progress.judged(changed, 30.0, Seen(did(500), did(500, seed=2)))
    assert waiting == progress
    after, _ = progress.judged(changed, 100.0, Seen(did(500), did(500, seed=2)))
    following = min(step for step in steps if step > 10)
    assert after.routes(plan(rollout=changed)) == (
        Routes({"2": 100}) if following == 100 else Routes({"2": following, "1": 100 - following})
    )


def test_the_state_of_a_release_that_counted_steps_is_read():
    before = {"stable": "1", "candidate": "2", "step": 2, "since": 3.0, "rejected": [], "events": []}
    assert Progress.of(before) == Progress(stable="1", candidate="2", since=3.0)


def test_in_the_shadow_the_same_rows_are_compared_and_latency_is_not_judged():
    old, new = did(300, seed=3), did(300, seed=3, seconds=1.0)
    found = gates(ROLLOUT, Seen(old, new, shadow=True))
    assert "latency" not in found
    assert found["score_shift"]["value"] == 0
    assert gates(ROLLOUT, Seen(old, did(300, seed=3, mean=0.34), shadow=True))["score_shift"]["broken"]


def test_the_state_survives_as_json_and_the_same_plan_again_changes_nothing():
    progress = on_step(3)
    back = Progress.of(json.loads(json.dumps(progress.as_json())))
    assert back == progress
    assert back.aim(plan(), now=9.0) == progress
    assert back.aim(replace(plan(), revision="another"), now=9.0).routes(plan()) == Routes({"2": 50, "1": 50})


def test_traffic_by_name_stops_the_rollout_and_makes_its_largest_version_the_one_that_serves():
    there = on_step(3).aim(plan(traffic={"1": 100, "3": 0}), now=1.0)
    assert there.routes(plan(traffic={"1": 100, "3": 0})) == Routes({"1": 100}, "3")
    assert (there.stable, there.candidate) == ("1", None)
    promoted = there.aim(plan(traffic={"2": 100}), now=2.0)
    assert promoted.aim(plan(), now=3.0).routes(plan()) == Routes({"2": 100})


def test_a_rejected_version_named_in_the_traffic_serves_and_is_no_longer_rejected():
    rejected = replace(Progress(stable="1"), rejected=("2",))
    assert rejected.aim(plan(), now=1.0).routes(plan()) == Routes({"1": 100})
    named = rejected.aim(plan(traffic={"2": 100}), now=1.0)
    assert named.rejected == ()
    assert named.aim(plan(), now=2.0).stable == "2"


def test_without_a_rollout_the_latest_serves_at_once_also_from_the_middle_of_one():
    assert on_step(1).aim(plan(rollout=None), now=1.0).routes(plan(rollout=None)) == Routes({"2": 100})


def test_a_model_that_is_taken_back_in_the_middle_of_its_rollout_leaves_the_one_that_serves():
    assert on_step(2).aim(plan("1"), now=1.0).routes(plan("1")) == Routes({"1": 100})


def test_what_arrives_must_not_be_farther_from_the_training_of_the_new_version_than_from_the_old_ones():
    def skewed(old: dict[str, float], new: dict[str, float]) -> bool:
        seen = Seen(did(300), did(300, seed=2), old_skew=old, new_skew=new)
        return gates(ROLLOUT, seen)["skew"]["broken"]

    assert skewed({"distance": 0.3}, {"distance": 1.2})
    assert not skewed({"distance": 0.3}, {"distance": 0.9})
    assert not skewed({"distance": 5.0}, {"distance": 6.6}), "what moved is the world, not the model"
    assert skewed({"temp": 9.0, "origin": 0.4}, {"temp": 9.0, "origin": 2.0}), "another column's move hides none"
    assert skewed({}, {"gate": 1.1}), "a column that only the new version has"
    assert not skewed({"temp": 3.0}, {})
    assert gates(replace(ROLLOUT, skew=0), Seen(did(300), did(300), new_skew={"temp": 0.1}))["skew"]["column"] == "temp"
