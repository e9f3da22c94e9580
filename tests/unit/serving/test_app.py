"""The application in this process, on backends that misbehave."""

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock_serving.app import Application
from penstock_serving.errors import TooSlowError
from penstock_serving.seal import SealedModel
from penstock_serving.served import ServedModel
from penstock_serving.versions import Versions
from penstock_trainer.artifacts import Manifest
from penstock_trainer.errors import InputError

ROW = {"distance": 1400.5, "month": 1, "carrier": "UA"}
SECRET = "a person's value"


class Backend:
    """Answers 0.5, but fails for a distance of 13 and does not load when told so."""

    name = "fake"
    quick_rows = 0

    failure: Exception | None = None

    def load(self, model: SealedModel) -> None:
        """Fail as told."""
        if self.failure:
            raise self.failure

    def predict(self, columns: Sequence[Sequence[Any]]) -> list[float]:
        """0.5 a row."""
        if 13 in columns[0]:
            raise RuntimeError(SECRET)
        return [0.5] * len(columns[0])


@pytest.fixture
def served(schema) -> ServedModel:
    """A model on that backend."""
    manifest = Manifest(kind="model", files={}, inputs={}, code="sha256:0")
    samples = {"instances": [ROW], "predictions": [0.5]}
    return ServedModel(
        "flights", SealedModel(Path("nowhere"), manifest.digest, {"model": manifest}, schema, samples), Backend()
    )


async def answer(
    app: Application, path: str, body: bytes = b"", method: str = "POST"
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of one request, its body in two parts."""
    parts = [{"type": "http.request", "body": body[:5], "more_body": True}, {"type": "http.request", "body": body[5:]}]
    sent: list[Any] = []

    async def receive() -> Any:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(event: Any) -> None:
        sent.append(event)

    await app({"type": "http", "method": method, "path": path, "headers": []}, receive, send)
    if not sent:
        return 0, {}, None
    start, content = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, json.loads(content["body"])


def running(served: ServedModel, test: Any) -> None:
    """Run the coroutine function `test` with an application whose model is loaded."""

    async def main() -> None:
        app = Application(Versions([served]))
        served.start(lambda failure: pytest.fail(repr(failure)))
        while not served.available:
            await asyncio.sleep(0.01)
        try:
            await test(app)
        finally:
            await asyncio.to_thread(served.stop)

    asyncio.run(main())


def test_a_fault_of_the_server_is_500_naming_its_incident_in_the_log_but_not_the_cause(served, caplog):
    async def test(app: Application) -> None:
        body = json.dumps({"instances": [{**ROW, "distance": 13}]}).encode()
        status, headers, said = await answer(app, "/v1/models/flights:predict", body)
        assert status == 500
        assert headers["x-model-digest"] == served.sealed.digest
        incident = said["error"].removeprefix("the server failed; its log has the incident ")
        assert caplog.records[-1].fields == {"route": "predict", "incident": incident}
        assert SECRET not in json.dumps(said)
        assert (await answer(app, "/v1/models/flights:predict", json.dumps({"instances": [ROW]}).encode()))[0] == 200

    with caplog.at_level(logging.ERROR):
        running(served, test)


def test_a_draining_server_answers_and_sends_its_clients_elsewhere(served):
    async def test(app: Application) -> None:
        body = json.dumps({"instances": [ROW]}).encode()
        assert "connection" not in (await answer(app, "/v1/models/flights:predict", body))[1]
        app.draining = True
        status, headers, _ = await answer(app, "/v1/models/flights:predict", body)
        assert (status, headers["connection"]) == (200, "close")
        assert (await answer(app, "/readyz", method="GET"))[0] == 503
        assert (await answer(app, "/healthz", method="GET"))[0] == 200

    running(served, test)


def test_what_the_protocol_refuses_is_counted(served):
    app = Application(Versions([served]))
    response = app.refusal(TooSlowError("too slow"))
    assert (response.status, response.body) == (408, b'{"error":"too slow"}')
    assert b'penstock_requests_total{code="408",route="none"} 1.0' in app.versions.metrics.render(None)


def test_a_large_body_is_decoded_beside_the_loop_with_the_same_outcome(served):
    async def test(app: Application) -> None:
        rows: list[Any] = [ROW] * 5000
        status, _, said = await answer(app, "/v1/models/flights:predict", json.dumps({"instances": rows}).encode())
        assert (status, len(said["predictions"])) == (200, 5000)
        rows[4321] = {**ROW, "month": "x"}
        _, _, said = await answer(app, "/v1/models/flights:predict", json.dumps({"instances": rows}).encode())
        assert said["error"].startswith("row 4321, column 'month'")

    running(served, test)


def test_a_client_that_goes_before_its_body_is_complete_gets_no_answer_and_is_no_failure(served, caplog):
    async def test(app: Application) -> None:
        async def receive() -> Any:
            return {"type": "http.disconnect"}

        async def send(_event: Any) -> None:
            pytest.fail("answered")

        scope = {"type": "http", "method": "POST", "path": "/v1/models/flights:predict", "headers": []}
        await app(scope, receive, send)

    running(served, test)
    assert not caplog.records


@pytest.mark.parametrize("failure", [InputError("no signature"), MemoryError()])
def test_a_model_that_cannot_be_loaded_is_reported_and_its_waiting_requests_are_told(served, failure):
    Backend.failure = failure

    async def main() -> None:
        app = Application(Versions([served]))
        reported = asyncio.get_running_loop().create_future()
        served.start(reported.set_result)
        body = json.dumps({"instances": [ROW]}).encode()
        waiting = asyncio.create_task(answer(app, "/v1/models/flights:predict", body))
        assert await reported is failure
        served.give_up()
        status, headers, _ = await waiting
        assert (status, headers["retry-after"]) == (503, "5")

    try:
        asyncio.run(main())
    finally:
        Backend.failure = None
