import pytest

from penstock.errors import ServiceFailed
from penstock.local import plan
from penstock.local.spec import write_json
from penstock.local.versions import arrived, resolved

DIGESTS = ["sha256:" + digit * 64 for digit in "abc"]


@pytest.fixture
def known():
    found = []
    for digest in DIGESTS:
        found = arrived(found, f"/models/{digest[-1]}", digest)
    return found


def test_models_are_numbered_as_they_arrive_and_one_that_comes_back_keeps_its_number(known):
    assert [version["number"] for version in known] == [1, 2, 3]
    back = arrived(known, "/models/elsewhere", DIGESTS[0])
    assert [version["number"] for version in back] == [2, 3, 1]
    assert back[-1]["path"] == "/models/elsewhere"
    assert arrived(back, "/models/d", "sha256:d")[-1]["number"] == 4


def test_a_version_goes_by_latest_previous_number_or_the_beginning_of_its_digest(known):
    assert resolved({"latest": 10, "previous": 90}, known) == {"3": 10, "2": 90}
    assert resolved({"1": 1, "b" * 8: 2, DIGESTS[2]: 0}, known) == {"1": 1, "2": 2, "3": 0}


@pytest.mark.parametrize("name", ["4", "newest", "a" * 7, "d" * 64])
def test_an_unknown_version_is_told_with_those_that_are_known(known, name):
    with pytest.raises(ServiceFailed) as caught:
        resolved({name: 100}, known)
    assert f"'traffic' names {name!r}" in str(caught.value)
    assert "the endpoint knows 1 (aaaaaaaaaaaa), 2 (bbbbbbbbbbbb), 3 (cccccccccccc)" in str(caught.value)


def test_one_version_by_two_names_is_refused_and_so_is_previous_where_there_is_none(known):
    with pytest.raises(ServiceFailed, match="names version 3 twice, the second time as '3'"):
        resolved({"latest": 50, "3": 50}, known)
    with pytest.raises(ServiceFailed, match="names 'previous'"):
        resolved({"previous": 100}, known[:1])


def follow(folder, **changed):
    """What the provider writes down of one `up`."""
    digest = changed.pop("model", "a")
    props = {"path": f"/models/{digest}", "digest": f"sha256:{digest}", "model_name": "toy"}
    props |= {"min_replicas": 1, "max_replicas": 1, "idle_seconds": 9.0}
    with plan.written(folder, {**props, **changed}):
        pass
    return plan.served(folder)


def test_what_answered_is_told_in_its_order_and_going_back_forgets_what_came_after(tmp_path):
    assert follow(tmp_path) == ["1"]
    assert follow(tmp_path, model="b", traffic={"1": 100}) == ["1"], "trained, and never asked"
    assert follow(tmp_path, model="b", traffic={"1": 30, "2": 70}) == ["1", "2"]
    assert follow(tmp_path, model="c") == ["1", "2", "3"]
    assert follow(tmp_path, model="c", traffic={"2": 1}) == ["1", "2"]
    assert follow(tmp_path, model="c", traffic={"latest": 1}) == ["1", "2", "3"]
    assert follow(tmp_path, model="c", traffic={"1": 1}) == ["1"]


def test_a_plan_that_was_refused_has_answered_nothing(tmp_path):
    follow(tmp_path)
    with pytest.raises(ServiceFailed):
        follow(tmp_path, model="b", traffic={"7": 1})
    assert plan.served(tmp_path) == ["1"]


def test_how_far_a_rollout_has_got_is_the_supervisor_s_to_say(tmp_path):
    follow(tmp_path)
    rollout = {"steps": [0, 100], "step_requests": 9.0}
    assert follow(tmp_path, model="b", rollout=rollout) == ["1"]
    write_json(tmp_path / "rollout.json", {"stable": "1", "candidate": "2"})
    assert plan.served(tmp_path) == ["1", "2"], "on its way"
    write_json(tmp_path / "rollout.json", {"stable": "1", "candidate": None})
    assert plan.served(tmp_path) == ["1"], "its gate closed"
    follow(tmp_path, model="c", rollout=rollout)
    write_json(tmp_path / "rollout.json", {"stable": "3", "candidate": None})
    assert plan.served(tmp_path) == ["1", "3"], "all the way"
