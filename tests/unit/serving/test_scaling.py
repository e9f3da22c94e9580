"""How many workers, on simulated time."""

import pytest

from penstock_serving.plan import Replicas
from penstock_serving.scaling import Scaler

RANGE = Replicas(lowest=0, highest=4, idle_seconds=60)


class Load:
    """A scaler that is asked five times a second."""

    def __init__(self, replicas: Replicas = RANGE, workers: int = 1) -> None:
        self.replicas, self.workers, self.now = replicas, workers, 0.0
        self.scaler = Scaler()
        self.scaler.started(self.now)

    def of(self, in_flight: int, seconds: float) -> int:
        """So many requests in flight for so long; the number of workers then."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.2
            wanted = self.scaler.wanted(self.now, self.workers, in_flight, in_flight > 0, self.replicas)
            if wanted > self.workers:
                self.scaler.started(self.now)
            self.workers = wanted
        return self.workers


def test_workers_follow_the_requests_in_flight_within_their_range():
    load = Load()
    assert load.of(10, seconds=20) == 1
    assert load.of(40, seconds=20) == 3
    assert load.of(500, seconds=60) == 4
    assert load.of(40, seconds=20) == 4
    assert load.of(6, seconds=120) == 1


def test_a_burst_of_less_than_a_second_starts_nothing():
    load = Load()
    load.of(0, seconds=5)
    assert load.of(20, seconds=0.6) == 1
    assert load.of(0, seconds=10) == 1


def test_after_the_idle_time_there_is_none_unless_one_is_the_least():
    assert Load().of(0, seconds=58) == 1
    assert Load().of(0, seconds=62) == 0
    assert Load(Replicas(lowest=1, highest=4, idle_seconds=60)).of(0, seconds=1000) == 1


@pytest.mark.parametrize("lowest", [2, 3])
def test_there_are_never_fewer_than_the_least(lowest):
    assert Load(Replicas(lowest=lowest, highest=4), workers=4).of(0, seconds=300) == lowest
