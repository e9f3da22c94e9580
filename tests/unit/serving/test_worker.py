"""A worker that cannot accept, and one that ends."""

import asyncio
import errno
import socket
import threading
from types import SimpleNamespace
from typing import cast

import pytest

from penstock_serving import worker
from penstock_serving.app import Application
from penstock_serving.worker import Worker
from penstock_serving.yielding import LOADING


class Listener(socket.socket):
    """Accepts nothing while `exhausted`; counts how often it was asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.exhausted = True
        self.asked = 0
        self.bind(("127.0.0.1", 0))
        self.listen()
        self.setblocking(False)

    def accept(self) -> tuple[socket.socket, object]:
        """A connection that waits."""
        self.asked += 1
        if self.exhausted:
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


@pytest.mark.parametrize("meanwhile", ["", "closed", "leaves"])
def test_a_worker_without_file_descriptors_pauses_and_then_accepts_what_waits(monkeypatch, caplog, meanwhile):
    monkeypatch.setattr(worker, "PAUSE_SECONDS", 0.1)

    async def wait(listener: Listener) -> None:
        accepting = Worker.__new__(Worker)  # accepting needs no more of it
        accepting.should_exit = False
        accepted: list[socket.socket] = []
        accepting._listen(listener, accepted.append)
        with socket.create_connection(listener.getsockname()):
            await asyncio.sleep(0.35)
            assert 2 <= listener.asked <= 5
            assert {record.message for record in caplog.records} == {"accepts no connections for a while"}
            assert len(caplog.records) == listener.asked
            if meanwhile == "closed":
                listener.close()
            accepting.should_exit = meanwhile == "leaves"
            listener.exhausted = False
            await asyncio.sleep(0.25)
            assert len(accepted) == (0 if meanwhile else 1)
            for connection in accepted:
                asyncio.get_running_loop().remove_reader(listener.fileno())
                connection.close()

    with Listener() as listener:
        asyncio.run(wait(listener))


@pytest.mark.parametrize("leaves", [True, False])
def test_a_worker_that_others_take_over_from_counts_its_last_rows_in_the_time_that_these_leave(monkeypatch, leaves):
    gave_way = threading.Event()
    monkeypatch.setattr(worker, "yield_session", lambda nice, **_: nice == LOADING and gave_way.set())
    counted: list[bool] = []
    versions = SimpleNamespace(stop=lambda: counted.append(gave_way.wait(10 if leaves else 0.1)))
    ending = Worker.__new__(Worker)  # ending needs no more of it
    ending._leaves, ending._application = leaves, cast("Application", SimpleNamespace(versions=versions))
    ending._stop_models()
    assert counted == [leaves]
