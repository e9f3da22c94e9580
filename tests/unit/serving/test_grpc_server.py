"""What one request by gRPC may hold."""

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from penstock_serving.access import Access
from penstock_serving.bodies import Held
from penstock_serving.grpc_server import GrpcServer
from penstock_serving.metrics import Metrics
from penstock_serving.tensor_messages import message
from penstock_serving.tensors import STRING


class Context:
    """A call without metadata, which is told why it fails."""

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return []

    def time_remaining(self) -> None:
        return None

    async def send_initial_metadata(self, _metadata: Any) -> None:
        pass

    async def abort(self, *why: Any) -> bytes:
        self.why = why
        return b""


@pytest.mark.parametrize(
    ("rows", "code", "said"),
    [
        (10, None, None),
        (50, grpc.StatusCode.UNAVAILABLE, "bytes are on their way already, the limit is 1000000"),
        (4000, grpc.StatusCode.RESOURCE_EXHAUSTED, 'input "scan" repeats 70002 bytes in 3999 rows'),
    ],
)
def test_what_a_request_repeats_is_limited_and_held_with_its_body(rows, code, said):
    shape = message("Shape")(dim=[message("Dimension")(size=rows)])
    tensor = message("Tensor")(dtype=STRING, tensor_shape=shape, string_val=[b"x" * 70_000])
    inputs = [message("Named")(key="scan", value=tensor)]
    body = message("PredictRequest")(model_spec=message("ModelSpec")(name="m"), inputs=inputs).SerializeToString()
    held, holds = Held(limit=1_000_000), []

    async def answer(*_: Any) -> tuple[Any, bytes]:
        holds.append(held.bytes)
        return SimpleNamespace(headers={}), b"answered"

    versions = SimpleNamespace(name="m", metrics=Metrics())
    application: Any = SimpleNamespace(held=held, in_flight=0, predicted=0, answer=answer, versions=versions)
    context = Context()
    answered = asyncio.run(GrpcServer(application, "", Access())._predict(body, context))
    assert held.bytes == 0
    if code is None:
        assert (answered, holds) == (b"answered", [len(body) + 9 * 70_002])
    else:
        assert holds == []
        assert context.why[0] is code
        assert said in context.why[1]
