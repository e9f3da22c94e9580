"""Several versions in one server, on backends that answer a constant."""

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock_serving.app import Application
from penstock_serving.metrics import Metrics
from penstock_serving.routing import Routes
from penstock_serving.seal import SealedModel
from penstock_serving.served import ServedModel
from penstock_serving.shadow import Shadow
from penstock_serving.tally import Tally
from penstock_serving.versions import Versions
from penstock_trainer.artifacts import Manifest

ROW = {"distance": 1400.5, "month": 1, "carrier": "UA"}
BODY = json.dumps({"instances": [ROW]}).encode()
PREDICT = "/v1/models/flights:predict"


class Constant:
    """Answers one number; waits for `gate` first."""

    name = "fake"
    quick_rows = 0

    def __init__(self, answer: float) -> None:
        self.answer = answer
        self.gate = threading.Event()
        self.gate.set()

    def load(self, model: SealedModel) -> None:
        """Nothing to load."""

    def predict(self, columns: Sequence[Sequence[Any]]) -> list[float]:
        """The number for each row, but a failure for a distance of 13."""
        self.gate.wait()
        if 13 in columns[0]:
            raise RuntimeError("13")
        return [self.answer] * len(columns[0])


@pytest.fixture
def versions(schema) -> Versions:
    """Versions 1, 2 and 3, which answer 0.1, 0.2 and 0.3."""
    metrics = Metrics()

    def one(number: int) -> ServedModel:
        manifest = Manifest(kind="model", files={}, inputs={}, code=f"sha256:{number}")
        samples = {"instances": [ROW], "predictions": [number / 10]}
        sealed = SealedModel(Path("nowhere"), manifest.digest, {"model": manifest}, schema, samples)
        return ServedModel("flights", sealed, Constant(number / 10), str(number), metrics)

    return Versions([one(number) for number in (1, 2, 3)], Routes({"1": 100, "2": 0, "3": 0}, shadow=None))


async def ask(
    app: Application, path: str, body: bytes | None = BODY, key: str | None = None
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of one request."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(event: Any) -> None:
        sent.append(event)

    headers = [(b"x-request-key", key.encode())] if key else []
    method = "GET" if body is None else "POST"
    await app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
    return sent[0]["status"], {n.decode(): v.decode() for n, v in sent[0]["headers"]}, json.loads(sent[1]["body"])


def shadow_of(app: Application) -> Shadow:
    """The comparison that is going on."""
    assert app.versions.shadow is not None
    return app.versions.shadow


def tallies_of(app: Application) -> dict[str, Tally]:
    """What each version did."""
    assert app.versions.tallies is not None
    return app.versions.tallies


def running(versions: Versions, routes: Routes, test: Any) -> None:
    """Run the coroutine function `test` with an application whose versions are loaded and answer by `routes`."""

    async def main() -> None:
        versions.routes, versions.main = Routes(dict.fromkeys("123", 1)), next(iter(versions))
        app = Application(versions)
        versions.start(lambda failure: pytest.fail(repr(failure)))
        while not versions.available:
            await asyncio.sleep(0.01)
        app.direct(routes, deciding=True)
        try:
            await test(app)
        finally:
            await asyncio.to_thread(versions.stop)

    asyncio.run(main())


def test_a_split_gives_each_key_to_one_version_which_the_answer_names(versions):
    digests = {each.version: each.sealed.digest for each in versions}

    async def test(app: Application) -> None:
        by_key: dict[str, str] = {}
        for number in range(300):
            key = f"customer {number % 100}"
            status, headers, said = await ask(app, PREDICT, key=key)
            assert status == 200
            version = {0.1: "1", 0.2: "2"}[said["predictions"][0]]
            assert headers["x-model-digest"] == digests[version]
            assert by_key.setdefault(key, version) == version
        assert 20 < list(by_key.values()).count("2") < 80
        assert tallies_of(app)["1"].answers + tallies_of(app)["2"].answers == 300
        assert tallies_of(app)["2"].mean == pytest.approx(0.2)

    running(versions, Routes({"1": 50, "2": 50}), test)


def test_without_a_key_the_same_body_is_answered_by_the_same_version(versions):
    async def test(app: Application) -> None:
        found: dict[int, set[float]] = {}
        for number in range(60):
            body = json.dumps({"instances": [{**ROW, "distance": 100 + number % 20}]}).encode()
            found.setdefault(number % 20, set()).add((await ask(app, PREDICT, body))[2]["predictions"][0])
        assert all(len(answers) == 1 for answers in found.values())
        assert set().union(*found.values()) == {0.1, 0.2}

    running(versions, Routes({"1": 50, "2": 50}), test)


def test_a_version_is_asked_by_its_number_or_the_beginning_of_its_digest_and_an_unknown_one_is_told(versions):
    second = versions.find("2")
    prefix = second.sealed.digest.removeprefix("sha256:")[:10]

    async def test(app: Application) -> None:
        for asked in ("2", prefix):
            status, headers, said = await ask(app, f"/v1/models/flights/versions/{asked}:predict")
            assert (status, said) == (200, {"predictions": [0.2]})
            assert headers["x-model-digest"] == second.sealed.digest
            status, _, said = await ask(app, f"/v1/models/flights/versions/{asked}/attestation", None)
            assert (said["version"], said["digest"]) == ("2", second.sealed.digest)
            _, _, said = await ask(app, f"/v1/models/flights/versions/{asked}", None)
            assert [each["version"] for each in said["model_version_status"]] == ["2"]
        for path, error in (
            ("/v1/models/flights/versions/7:predict", "model 'flights' has no version \"7\": it has 1, 2"),
            ("/v1/models/flights/versions/7/attestation", "model 'flights' has no version \"7\": it has 1, 2"),
            ("/v1/models/ships:predict", "no model \"ships\" here: this server has 'flights'"),
        ):
            assert (await ask(app, path))[2] == {"error": error}
        _, _, said = await ask(app, "/v1/models/flights", None)
        assert [each["version"] for each in said["model_version_status"]] == ["1", "2"]

    running(versions, Routes({"1": 99, "2": 1}), test)


def test_a_shadow_is_compared_and_counted_but_never_answers(versions):
    async def test(app: Application) -> None:
        for number in range(20):
            body = json.dumps({"instances": [{**ROW, "distance": number + 0.5}]}).encode()
            _, headers, said = await ask(app, PREDICT, body)
            assert said == {"predictions": [0.1]}
            assert headers["x-model-digest"] == app.versions.main.sealed.digest
        while (shadow := shadow_of(app).comparison.summary())["compared"] < 20:
            await asyncio.sleep(0.01)
        assert shadow["failed"] == shadow["skipped"] == 0
        assert shadow["mean_difference"] == pytest.approx(0.2)
        assert shadow["largest_difference"] == pytest.approx(0.2)
        traffic = (await ask(app, "/v1/models/flights/traffic", None))[2]
        assert traffic["versions"]["3"] | {"digest": ""} == {"digest": "", "share": 0, "shadow": True}
        assert traffic["versions"]["1"]["share"] == 1

    running(versions, Routes({"1": 100}, shadow="3"), test)


def test_a_shadow_that_hangs_delays_no_answer_and_holds_a_bounded_number_of_requests(versions):
    slow = versions.find("3")._backend

    async def test(app: Application) -> None:
        slow.gate.clear()
        try:
            for _ in range(400):
                assert (await asyncio.wait_for(ask(app, PREDICT), 5))[0] == 200
            assert 140 <= shadow_of(app).comparison.skipped <= 144
        finally:
            slow.gate.set()

    running(versions, Routes({"1": 100}, shadow="3"), test)


def test_a_shadow_that_fails_where_clients_are_answered_is_counted(versions):
    versions.find("3")._backend.predict = lambda columns: 1 / 0 if 17.5 in columns[0] else [0.3] * len(columns[0])

    async def test(app: Application) -> None:
        for distance in (16.5, 17.5):
            body = json.dumps({"instances": [{**ROW, "distance": distance}]}).encode()
            assert (await ask(app, PREDICT, body))[0] == 200
        while shadow_of(app).comparison.summary()["compared"] < 2:
            await asyncio.sleep(0.01)
        assert shadow_of(app).comparison.summary()["failed"] == 1

    running(versions, Routes({"1": 100}, shadow="3"), test)


def test_a_version_without_traffic_goes_and_is_no_longer_found(versions):
    async def test(app: Application) -> None:
        assert (await ask(app, "/v1/models/flights/versions/2:predict"))[0] == 200
        app.direct(Routes({"1": 100}), deciding=False)
        assert (await ask(app, "/v1/models/flights/versions/2:predict"))[0] == 404
        assert app.versions.only is app.versions.main
        assert app.versions.tallies is None
        assert b'penstock_traffic_weight{model="flights",version="1"} 1.0' in app.versions.metrics.render()
        assert b'penstock_ready{model="flights",version="2"}' not in app.versions.metrics.render()

    running(versions, Routes({"1": 50, "2": 50}), test)


def test_answers_send_as_many_clients_elsewhere_as_were_asked_to_leave(versions):
    async def test(app: Application) -> None:
        app.leaving = 2
        closing = [(await ask(app, PREDICT))[1].get("connection") for _ in range(4)]
        assert closing == ["close", "close", None, None]

    running(versions, Routes({"1": 100}), test)


def test_a_version_that_lost_its_traffic_a_moment_before_the_end_is_ended_as_the_others_are(versions):
    second = versions.find("2")

    async def test(app: Application) -> None:
        app.direct(Routes({"1": 100}), deciding=False)
        assert second.batcher._thread.is_alive()

    running(versions, Routes({"1": 50, "2": 50}), test)
    assert not second.batcher._thread.is_alive(), "what it observed last would be lost"


def test_routes_to_a_version_that_is_not_here_change_nothing(versions):
    async def test(app: Application) -> None:
        app.direct(Routes({"1": 100}), deciding=False)
        with pytest.raises(KeyError):
            app.direct(Routes({"2": 100}), deciding=False)
        assert [each.version for each in app.versions] == ["1"]
        assert (await ask(app, PREDICT))[2] == {"predictions": [0.1]}

    running(versions, Routes({"1": 50, "2": 50}), test)
