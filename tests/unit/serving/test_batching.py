"""Rows on their way to the model."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from penstock_serving import batching
from penstock_serving.backends import RowRefusedError, Values
from penstock_serving.batching import Batcher
from penstock_serving.errors import DeadlineError, QueueFullError, RequestError, UnavailableError


class SlowModel:
    """Doubles its one column; each call waits for `go`, and its size is noted."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.go = threading.Semaphore(0)

    def predict(self, columns: Sequence[Values]) -> list[float]:
        """Twice each value; -1 is refused and -2 breaks the model."""
        (values,) = columns
        self.go.acquire()
        if -1 in values:
            raise RowRefusedError("no -1")
        if -2 in values:
            raise ZeroDivisionError
        return [2.0 * value for value in values]


@pytest.fixture
def model() -> SlowModel:
    """A model that waits to be let go."""
    return SlowModel()


@pytest.fixture
def batched(model: SlowModel) -> Callable[..., None]:
    """Runs a test's coroutine with a started batcher of `model`."""

    def run(test: Callable[[Batcher], Coroutine[Any, Any, None]], **limits: Any) -> None:
        async def main() -> None:
            batcher = Batcher(model.predict, on_batch=model.calls.append, **limits)
            batcher.start()
            try:
                await test(batcher)
            finally:
                model.go.release(1000)
                await asyncio.to_thread(batcher.close)

        asyncio.run(main())

    return run


async def until(reached: Callable[[], bool]) -> None:
    """Wait, at most 5 seconds, until it is so."""
    for _ in range(500):
        if reached():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not reached in 5 seconds")


def rows(*values: int) -> list[tuple[int]]:
    return [(value,) for value in values]


def test_what_arrives_during_a_call_shares_the_next_one(model, batched):
    async def test(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.submit(rows(1)))
        await until(lambda: model.calls == [1])
        others = [asyncio.create_task(batcher.submit(rows(n, n + 1))) for n in (10, 20, 30)]
        await until(lambda: batcher.waiting_rows == 6)
        model.go.release(2)
        assert await first == [2.0]
        assert await asyncio.gather(*others) == [[20.0, 22.0], [40.0, 42.0], [60.0, 62.0]]
        assert model.calls == [1, 6]
        assert batcher.waiting_rows == 0

    batched(test)


def test_a_batch_is_no_larger_than_its_limit_and_a_large_request_is_never_split(model, batched):
    async def test(batcher: Batcher) -> None:
        model.go.release(100)
        first = asyncio.create_task(batcher.submit(rows(*range(10))))
        others = [asyncio.create_task(batcher.submit(rows(1, 2, 3))) for _ in range(3)]
        await asyncio.gather(first, *others)
        assert model.calls[0] == 10
        assert max(model.calls[1:]) <= 4

    batched(test, batch_rows=4)


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(model, batched):
    async def test(batcher: Batcher) -> None:
        running = asyncio.create_task(batcher.submit(rows(1)))
        await until(lambda: model.calls == [1])
        waiting = asyncio.create_task(batcher.submit(rows(1, 2, 3)))
        await until(lambda: batcher.waiting_rows == 3)
        with pytest.raises(QueueFullError, match="3 rows wait already, 2 more would pass the limit of 4") as refused:
            await batcher.submit(rows(1, 2))
        assert refused.value.headers == {"retry-after": "1"}
        model.go.release(2)
        assert await running == [2.0]
        assert await waiting == [2.0, 4.0, 6.0]

    batched(test, queue_rows=4)


def test_a_row_that_the_model_refuses_fails_its_own_request_only(model, batched):
    async def test(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.submit(rows(0)))
        await until(lambda: model.calls == [1])
        requests = [asyncio.create_task(batcher.submit(rows(value))) for value in (5, -1, 6, -2)]
        await until(lambda: batcher.waiting_rows == 4)
        model.go.release(100)
        assert await first == [0.0]
        good, refused, other, broken = await asyncio.gather(*requests, return_exceptions=True)
        assert (good, other) == ([10.0], [12.0])
        assert isinstance(refused, RequestError)
        assert str(refused) == "the model refuses a row: no -1"
        assert isinstance(broken, ZeroDivisionError)

    batched(test)


def test_a_client_that_gives_up_does_not_disturb_the_others(model, batched):
    async def test(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.submit(rows(1)))
        await until(lambda: model.calls == [1])
        gone, stays = asyncio.create_task(batcher.submit(rows(2))), asyncio.create_task(batcher.submit(rows(3)))
        await until(lambda: batcher.waiting_rows == 2)
        gone.cancel()
        model.go.release(2)
        assert (await first, await stays) == ([2.0], [6.0])

    batched(test)


def test_a_model_that_answers_too_few_rows_fails_the_request():
    async def test() -> None:
        batcher = Batcher(lambda _: [1.0], on_batch=lambda _: None)
        batcher.start()
        with pytest.raises(RuntimeError, match="1 predictions for 2 rows"):
            await batcher.submit(rows(1, 2))
        batcher.close()

    asyncio.run(test())


def test_requests_wait_for_the_start_and_are_told_when_there_will_be_none(model):
    async def test() -> None:
        batcher = Batcher(model.predict, on_batch=model.calls.append)
        waiting = asyncio.create_task(batcher.submit(rows(1)))
        await until(lambda: batcher.waiting_rows == 1)
        batcher.abandon(UnavailableError("stopped"))
        with pytest.raises(UnavailableError, match="stopped"):
            await waiting
        with pytest.raises(UnavailableError, match="stopped"):
            await batcher.submit(rows(2))
        assert (batcher.waiting_rows, model.calls) == (0, [])

    asyncio.run(test())


def test_no_time_is_over_while_a_model_loads_but_that_of_a_request_s_own_word(model, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(batching, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    async def test() -> None:
        told: dict[str, Any] = {}
        batcher = Batcher(model.predict, on_batch=model.calls.append, deadline_seconds=2.0)
        batcher.ask(rows(1), 1, lambda answer: told.update(held=answer))
        batcher.ask(rows(2), 1, lambda answer: told.update(hurried=answer), 100.05)
        now[0] = 200.0
        await until(lambda: "hurried" in told)
        assert isinstance(told["hurried"], DeadlineError)
        await asyncio.sleep(0.25)  # time for two more looks
        batcher.start()
        model.go.release()
        await until(lambda: "held" in told)
        assert (told["held"], model.calls) == ([2.0], [1])
        batcher.close()

    asyncio.run(test())


def test_of_those_that_wait_too_long_the_oldest_are_told_and_the_others_are_still_answered(model, batched, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(batching, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    async def test(batcher: Batcher) -> None:
        told: dict[int, Any] = {}

        def ask(value: int, due: float | None = None) -> None:
            batcher.ask(rows(value), 1, lambda answer: told.__setitem__(value, answer), due)

        ask(1)
        await until(lambda: model.calls == [1])
        ask(2)
        await asyncio.sleep(0.25)  # time for a look
        now[0] = 101.0
        ask(3)
        ask(4, 102.0)
        await asyncio.sleep(0.25)
        now[0] = 102.5
        await until(lambda: len(told) == 3)
        assert {value for value, answer in told.items() if isinstance(answer, DeadlineError)} == {1, 2, 4}
        assert batcher.waiting_rows == 1
        model.go.release(2)
        await until(lambda: 3 in told)
        assert (told[3], model.calls) == ([6.0], [1, 1])

    batched(test, deadline_seconds=2.0)


def test_requests_of_short_times_of_their_own_do_not_put_off_the_deadline_of_another(model, batched, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(batching, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    async def test(batcher: Batcher) -> None:
        told: list[Any] = []
        hurried: list[Any] = []
        batcher.ask(rows(1), 1, lambda _: None)
        await until(lambda: model.calls == [1])
        batcher.ask(rows(2), 1, told.append)
        await asyncio.sleep(0.25)  # time for a look
        now[0] = 101.0
        for _ in range(3):
            batcher.ask(rows(3), 1, hurried.append, 101.1)
        now[0] = 101.5
        await until(lambda: len(hurried) == 3)
        assert not told
        now[0] = 102.5
        await until(lambda: bool(told))
        assert isinstance(told[0], DeadlineError)

    batched(test, deadline_seconds=2.0)


def test_a_call_that_hangs_does_not_hold_up_the_end(model, monkeypatch, caplog):
    monkeypatch.setattr(batching, "CLOSING_SECONDS", 0.1)

    async def test() -> None:
        batcher = Batcher(model.predict, on_batch=model.calls.append)
        batcher.start()
        batcher.ask(rows(1), 1, lambda _: None)
        await until(lambda: model.calls == [1])
        closing = threading.Thread(target=batcher.close, daemon=True)
        closing.start()
        await until(lambda: not closing.is_alive())

    try:
        asyncio.run(test())
    finally:
        model.go.release()
    assert [record.message for record in caplog.records] == ["a call of the model does not end"]


def test_a_quick_model_answers_in_the_event_loop_once_for_all_that_arrived_together(model):
    threads: list[str] = []

    def predict(columns: Sequence[Values]) -> list[float]:
        threads.append(threading.current_thread().name)
        return [2.0 * value for value in columns[0]]

    async def test() -> None:
        batcher = Batcher(predict, on_batch=model.calls.append, quick_rows=8)
        early = asyncio.create_task(batcher.submit(rows(1)))
        await asyncio.sleep(0)
        batcher.start()
        assert await early == [2.0]
        together = [batcher.submit(rows(n, n + 1)) for n in (10, 20, 30)]
        assert await asyncio.gather(*together) == [[20.0, 22.0], [40.0, 42.0], [60.0, 62.0]]
        assert model.calls == [1, 6]
        assert await batcher.submit(rows(*range(9))) == [2.0 * n for n in range(9)]
        assert threads == ["MainThread", "MainThread", "predict"]
        for _ in range(1000):  # the thread answers on until it has found that nothing waits
            assert await batcher.submit(rows(5)) == [10.0]
            if threads[-1] == "MainThread":
                break
            await asyncio.sleep(0.001)
        assert threads[-1] == "MainThread"
        batcher.close()

    asyncio.run(test())


def test_a_quick_model_is_never_called_by_the_event_loop_while_the_thread_calls_it(model, batched):
    async def test(batcher: Batcher) -> None:
        large = asyncio.create_task(batcher.submit(rows(1, 2, 3, 4, 5)))
        await until(lambda: model.calls == [5])
        small = asyncio.create_task(batcher.submit(rows(7)))
        await asyncio.sleep(0.05)
        assert model.calls == [5]
        model.go.release(3)
        assert await large == [2.0, 4.0, 6.0, 8.0, 10.0]
        assert await small == [14.0]
        assert await batcher.submit(rows(8)) == [16.0]

    batched(test, quick_rows=4)


def test_what_clients_asked_is_handed_on_by_columns_once_it_is_answered_and_nothing_else(model):
    heard: list[Any] = []

    async def test() -> None:
        batcher = Batcher(
            lambda columns: [2.0 * value for value in columns[0]],
            on_batch=model.calls.append,
            on_answers=lambda columns, answers, size: heard.append(([*map(list, columns)], answers, size)),
            quick_rows=8,
        )
        answers: list[Any] = []
        ours = asyncio.create_task(batcher.submit(rows(1, 2)))
        await asyncio.sleep(0)
        batcher.ask(rows(3, 4), 30, answers.append)
        batcher.ask(rows(5), 12, answers.append)
        batcher.start()
        assert await ours == [2.0, 4.0]
        assert answers == [[6.0, 8.0], [10.0]]
        assert (model.calls, heard) == ([5], [([[3, 4, 5]], [6.0, 8.0, 10.0], 42)])
        batcher.close()

    asyncio.run(test())
