"""Counts that add up."""

import json
import random

import pytest

from penstock_serving.tally import Tally


def test_tallies_of_several_processes_add_up_to_that_of_one():
    draw = random.Random(7)
    whole, parts = Tally(), [Tally(), Tally()]
    for number in range(1000):
        request = (draw.choice([200, 200, 400, 500]), draw.lognormvariate(-6, 1), [draw.random(), float("nan")])
        answered = request if request[0] == 200 else (request[0], request[1], None)
        whole.answered(*answered)
        parts[number % 2].answered(*answered)
    total = Tally.of(json.loads(json.dumps(parts[0].as_json())))
    total.add(parts[1])
    assert total.latencies == whole.latencies
    assert (total.answers, total.refused, total.failed) == (whole.answers, whole.refused, whole.failed)
    assert total.requests == 1000
    assert total.numberless == whole.numberless == whole.answers
    assert total.bad_share == 1
    assert (total.mean, total.deviation) == pytest.approx((whole.mean, whole.deviation))
    total.add(parts[1], sign=-1)
    assert total.latencies == parts[0].latencies


def test_a_quantile_is_at_most_a_fifth_above_the_true_latency():
    tally = Tally()
    latencies = sorted(random.Random(3).lognormvariate(-6, 1) for _ in range(5000))
    for latency in latencies:
        tally.answered(200, latency, [0.5])
    for share in (0.5, 0.9, 0.99):
        assert 1 <= tally.quantile(share) / latencies[int(share * 5000) - 1] <= 1.2
        assert tally.share_beyond(tally.quantile(share)) <= 1 - share < tally.share_beyond(tally.quantile(share) / 1.2)
    assert Tally().quantile(0.99) == Tally().share_beyond(0) == 0
