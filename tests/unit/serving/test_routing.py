"""Who answers which key."""

import pytest

from penstock_serving.routing import Routes

KEYS = [f"customer {number}".encode() for number in range(20_000)]


def test_each_version_answers_its_share_of_the_keys_and_a_key_is_always_answered_by_the_same():
    routes = Routes({"1": 60, "2": 30, "3": 10})
    answered = [routes.version(key) for key in KEYS]
    for version, weight in routes.weights.items():
        assert answered.count(version) / len(KEYS) == pytest.approx(weight / 100, abs=0.015)
    assert [Routes(routes.weights).version(key) for key in KEYS] == answered


def test_a_newer_version_that_gets_more_keeps_the_keys_it_has():
    had: set[bytes] = set()
    for share in (1, 10, 50, 100):
        routes = Routes({"1": 100 - share, "2": share})
        has = {key for key in KEYS if routes.version(key) == "2"}
        assert had < has
        had = has
    assert had == set(KEYS)


def test_weights_need_not_add_up_to_a_hundred_and_a_weight_of_zero_answers_nothing():
    routes = Routes({"1": 3, "2": 1, "10": 0}, shadow="10")
    assert {routes.version(key) for key in KEYS} == {"1", "2"}
    assert sum(routes.version(key) == "2" for key in KEYS) / len(KEYS) == pytest.approx(0.25, abs=0.015)
    assert (routes.main, routes.versions) == ("1", ["1", "2", "10"])
    assert Routes({"9": 1, "10": 1}).main == "10"


def test_a_key_meets_the_same_version_in_every_process_and_release():
    expected = {
        "customer 2": "1",
        "customer 3": "1",
        "customer 0": "2",
        "customer 1": "2",
        "customer 22": "3",
        "customer 26": "3",
    }
    routes = Routes({"1": 60, "2": 30, "3": 10})
    assert {key: routes.version(key.encode()) for key in expected} == expected
