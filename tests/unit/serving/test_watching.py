"""What workers report adds up, whatever they are told in between."""

from penstock_serving.comparison import Comparison
from penstock_serving.rollout import Progress
from penstock_serving.routing import Routes
from penstock_serving.tally import Tally
from penstock_serving.watching import Watch

PROGRESS = Progress(stable="1", candidate="2")


def tally(answers: int, seconds: float = 0.001) -> Tally:
    found = Tally()
    for _ in range(answers):
        found.answered(200, seconds, [0.5])
    return found


def test_a_worker_that_was_told_to_count_anew_between_two_reports_takes_nothing_away():
    """A rollout ends and another begins."""
    watch = Watch()
    watch.add(7, {"predicted": 0, "tallies": {"2": tally(100).as_json()}})
    watch.begin()
    watch.add(7, {"predicted": 0, "tallies": {"2": tally(4).as_json()}})
    assert watch.seen(PROGRESS, Routes({"2": 50, "1": 50})).new == tally(4)
    watch.add(7, {"predicted": 0, "tallies": {"2": tally(9).as_json()}})
    assert watch.tallies["2"].answers == 9


def test_as_many_answers_as_before_that_took_another_time_are_others():
    watch = Watch()
    for seconds in (0.001, 0.5):
        watch.begin()
        watch.add(7, {"predicted": 0, "tallies": {"2": tally(50, seconds).as_json()}})
    assert watch.tallies["2"] == tally(50, 0.5)


def test_a_shadow_that_compares_anew_takes_nothing_away():
    watch = Watch()
    for answers in (50, 3):
        watch.begin()
        shadow = Comparison("2", skipped=answers)
        for _ in range(answers):
            shadow.compare(0.001, [0.5], [0.25])
        watch.add(7, {"predicted": 0, "shadow": shadow.as_json()})
    assert watch.shadow == shadow
