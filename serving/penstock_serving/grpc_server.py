"""TensorFlow Serving's gRPC `PredictionService.Predict` beside the REST interface: the same rows, queue and errors.

Imported only where it is asked for: it takes the extra `grpc`.
"""

import asyncio
import logging
import time
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from penstock_serving import tensors
from penstock_serving.access import Access
from penstock_serving.app import Application, failure_said
from penstock_serving.asking import LARGE_BODY
from penstock_serving.bodies import BESIDE, BODY_LIMIT, Share
from penstock_serving.decoding import Asked
from penstock_serving.errors import NotFoundError, RequestError
from penstock_serving.explaining import shorten
from penstock_serving.schema import OUTPUT, SIGNATURE
from penstock_serving.served import ServedModel
from penstock_serving.tensor_messages import message, predict_response
from penstock_trainer.errors import InputError

SERVICE = "tensorflow.serving.PredictionService"
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""gRPC's word for an error, by HTTP's; any other is INTERNAL."""

logger = logging.getLogger("penstock_serving")


class GrpcServer:
    """Listens at an address of its own, in the event loop of the REST server."""

    def __init__(
        self, application: Application, address: str, access: Access, connection_seconds: float | None = None
    ) -> None:
        """Nothing is bound yet. `address`: as gRPC writes it.

        `connection_seconds`: after so long, a tenth more or less, a client is asked to connect anew, as gRPC's clients
        do without failing a call.
        """
        self._application, self._access, self._address = application, access, address
        self._connection_seconds = connection_seconds
        self._server: Any = None

    async def start(self) -> None:
        """Begin to answer; called in the event loop.

        Raises:
            InputError: the port is taken, or the address is not this machine's.
        """
        limits = [("grpc.max_receive_message_length", BODY_LIMIT), ("grpc.max_send_message_length", -1)]
        if self._connection_seconds is not None:
            limits.append(("grpc.max_connection_age_ms", int(1000 * self._connection_seconds)))
        self._server = grpc.aio.server(options=limits)
        method = grpc.unary_unary_rpc_method_handler(self._predict)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Predict": method}),))
        try:
            if self._access.pair is None:
                port = self._server.add_insecure_port(self._address)
            else:
                certificate, key = (path.read_bytes() for path in self._access.pair)
                credentials = grpc.ssl_server_credentials([(key, certificate)])
                port = self._server.add_secure_port(self._address, credentials)
        except RuntimeError as exc:
            raise InputError(f"cannot listen on {self._address} for gRPC: choose another --grpc-port") from exc
        await self._server.start()
        logger.info("listening for gRPC", extra={"fields": {"grpc_port": port}})

    async def stop(self, seconds: float) -> None:
        """Take no more requests, and answer those that are here, for so long at most."""
        if self._server is not None:
            await self._server.stop(seconds)

    async def _predict(self, body: bytes, context: Any) -> bytes:
        """Answer one request; whatever happens, with a status."""
        application, started = self._application, time.perf_counter()
        metadata = {name: _bytes(value) for name, value in context.invocation_metadata()}
        answer: Any = None
        application.in_flight += 1
        try:
            if self._access.tokens is not None:
                self._access.tokens.check(metadata.get("authorization"))
            with Share(application.held) as share:
                share.take(len(body))
                if len(body) < LARGE_BODY:
                    request, repeated = _read(body)
                else:
                    request, repeated = await asyncio.get_running_loop().run_in_executor(BESIDE, _read, body)
                share.take(repeated)
                asked = self._asked(request.model_spec)
                key, left = metadata.get("x-request-key"), context.time_remaining()
                due = None if left is None else started + left
                served, answer = await application.answer(body, partial(_decode, request), key, asked, started, due)
            await context.send_initial_metadata(tuple(served.headers.items()))
        except RequestError as exc:
            answer = exc
        finally:
            application.in_flight -= 1
            application.predicted += 1
        status = answer.status if isinstance(answer, RequestError) else 500 if isinstance(answer, Exception) else 200
        application.versions.metrics.count("grpc", status)
        if not isinstance(answer, Exception):
            return answer
        told = tuple(answer.headers.items()) if isinstance(answer, RequestError) else ()
        return await context.abort(CODES.get(status, grpc.StatusCode.INTERNAL), failure_said("grpc", answer), told)

    def _asked(self, spec: Any) -> ServedModel | None:
        """The version that a request names; None if it names none."""
        versions = self._application.versions
        if spec.name != versions.name:
            raise NotFoundError(f"no model {shorten(spec.name)} here: this server has {versions.name!r}")
        if spec.version_label:
            raise RequestError(f"version_label is {shorten(spec.version_label)}: versions have numbers here, no labels")
        if spec.signature_name not in ("", SIGNATURE):
            raise RequestError(f"signature_name is {shorten(spec.signature_name)}, this model has {SIGNATURE!r}")
        return versions.find(str(spec.version.value)) if spec.HasField("version") else None


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _read(body: bytes) -> tuple[Any, int]:
    """The request, and the bytes that its inputs repeat."""
    request = message("PredictRequest")()
    try:
        request.ParseFromString(body)
    except DecodeError as exc:
        raise RequestError(f"the request is no PredictRequest: {exc}") from exc
    for name in request.output_filter:
        if name != OUTPUT:
            raise RequestError(f"output_filter has {shorten(name)}, expected {OUTPUT!r}")
    return request, tensors.repeated_bytes(request.inputs)


def _decode(request: Any, served: ServedModel, _body: bytes) -> Asked:
    rows = served.decoder.rows_of(tensors.columns(request.inputs, served.sealed.schema))
    return Asked(rows, partial(predict_response, served.name, served.version, SIGNATURE, OUTPUT))
