"""The routes of one server, as an ASGI application."""

import asyncio
import logging
import math
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from penstock_serving import describing, inference_protocol
from penstock_serving.access import Tokens
from penstock_serving.asking import Decode, Hurried, Question
from penstock_serving.bodies import GZIP_FROM, Held, Share
from penstock_serving.console import console_page
from penstock_serving.decoding import Asked
from penstock_serving.errors import MethodNotAllowedError, NotFoundError, RequestError
from penstock_serving.explaining import shorten, suggestion
from penstock_serving.messages import (
    ClientGoneError,
    Headers,
    Receive,
    Respond,
    Response,
    Scope,
    Send,
    encode,
    header,
    packed_for,
    read_body,
)
from penstock_serving.openapi import openapi
from penstock_serving.routing import Routes
from penstock_serving.schema import OUTPUT
from penstock_serving.served import ServedModel
from penstock_serving.totals import Snapshot
from penstock_serving.versions import Versions

METHODS = {"GET": ("GET", "HEAD"), "POST": ("POST",)}

logger = logging.getLogger("penstock_serving")
Handler = Callable[[Scope, Receive], Awaitable[Response]]
TIMEOUT = b"x-request-timeout"
"""Seconds after which a request's answer is of no use to its client any more."""
NO_ROUTE: tuple[str, str, None] = ("none", "", None)
OPEN = ("healthz", "readyz", "live", "ready")
"""Routes that answer without a token: who probes a server has none."""


class Application:
    """Answers requests for one model; `draining` makes every answer the last one of its connection."""

    def __init__(self, versions: Versions, tokens: Tokens | None = None) -> None:
        """Without `tokens` everyone is answered."""
        self.versions = versions
        self._tokens = tokens
        self.draining = False
        self.leaving = 0
        """So many of the next answers are the last of their connections: their clients come back elsewhere."""
        self.in_flight = 0
        """Predict requests that are not answered yet."""
        versions.metrics.in_flight.set_function(lambda: self.in_flight)
        self.predicted = 0
        """Predict requests answered."""
        self.held = Held()
        self._packing: set[asyncio.Task[None]] = set()
        self.traffic: dict[str, Any] = {}
        """What is known beyond this process: the rollout, the replicas, what was refused."""
        self.totals: Callable[[], Awaitable[Snapshot]] | None = None
        """Gives the metrics of all processes that answer for the model; None where this is the only one."""
        self.shortcut = f"/v1/models/{versions.name}:predict".encode()
        """A POST of a small body to this path may be given to `predict`."""
        self._routes = self._of_versions()

    def direct(self, routes: Routes, deciding: bool) -> None:
        """Send requests to the model's versions this way from now on."""
        self.versions.direct(routes, deciding)
        self._routes = self._of_versions()

    def _of_versions(self) -> dict[str, tuple[str, str, Handler]]:
        """Every route: its name, its method and what handles it."""
        main, base = self.versions.main, f"/v1/models/{self.versions.name}"
        routes: dict[str, tuple[str, str, Handler]] = {
            f"{base}:predict": ("predict", "POST", self._predict),
            f"{base}/traffic": ("traffic", "GET", self._traffic),
            base: ("status", "GET", self._status),
            f"/v2/models/{self.versions.name}/infer": ("infer", "POST", self._infer),
            f"/v2/models/{self.versions.name}/ready": ("model ready", "GET", self._model_ready),
            "/v2": ("server", "GET", _constant(encode(inference_protocol.server()))),
            "/v2/health/live": ("live", "GET", self._live),
            "/v2/health/ready": ("ready", "GET", self._ready),
            "/healthz": ("healthz", "GET", self._healthz),
            "/readyz": ("readyz", "GET", self._readyz),
            "/metrics": ("metrics", "GET", self._metrics),
            "/openapi.json": ("openapi", "GET", _constant(encode(openapi(main, secured=self._tokens is not None)))),
            "/": ("console", "GET", console_page(main)),
        }
        for path, served in ((base, main), *((f"{base}/versions/{each.version}", each) for each in self.versions)):
            metadata, attestation = describing.metadata(served), describing.attestation(served)
            routes[f"{path}/metadata"] = ("metadata", "GET", _constant(encode(metadata)))
            routes[f"{path}/skew"] = ("skew", "GET", partial(self._skew, served))
            routes[f"{path}/attestation"] = ("attestation", "GET", _constant(encode(attestation), served.headers))
        for served in self.versions:
            path = f"{base}/versions/{served.version}"
            routes[f"{path}:predict"] = ("predict", "POST", partial(self._predict, asked=served))
            routes[path] = ("status", "GET", partial(self._status, asked=served))
            path = path.replace("/v1/", "/v2/", 1)
            routes[f"{path}/infer"] = ("infer", "POST", partial(self._infer, asked=served))
            routes[f"{path}/ready"] = ("model ready", "GET", partial(self._model_ready, asked=served))
        numbers = [each.version for each in self.versions]
        v2 = base.replace("/v1/", "/v2/", 1)
        for path, served in ((v2, main), *((f"{v2}/versions/{each.version}", each) for each in self.versions)):
            routes[path] = ("metadata", "GET", _constant(encode(inference_protocol.metadata(served, numbers))))
        return routes

    def predict(self, headers: Headers, body: bytes, started: float, respond: Respond) -> None:
        """Answer a request to `shortcut` that is here as a whole, without a task for it; `respond` gets the answer.

        Most requests of a server are of this kind, and it costs them half of what ASGI would.
        """

        def finish(response: Response) -> None:
            self.versions.metrics.count("predict", response.status)
            if len(response.body) < GZIP_FROM:
                respond(response, self.draining or self._leaves())
            else:
                packing = asyncio.get_running_loop().create_task(self._respond_large(headers, response, respond))
                self._packing.add(packing)
                packing.add_done_callback(self._packing.discard)

        def done(served: ServedModel, answer: Any) -> None:
            self.in_flight -= 1
            self.predicted += 1
            finish(_response(served, answer))

        try:
            if self._tokens is not None:
                self._tokens.check(header(headers, b"authorization"))
        except RequestError as exc:
            finish(Response.of_error(exc))
        else:
            self.in_flight += 1
            key = None if self.versions.only else header(headers, b"x-request-key")
            Question(self.versions, body, _decode, key, None, started, done).begin()

    def refusal(self, error: RequestError) -> Response:
        """The answer to a request that is refused before any route has it."""
        self.versions.metrics.count(NO_ROUTE[0], error.status)
        return Response.of_error(error)

    async def _respond_large(self, headers: Headers, response: Response, respond: Respond) -> None:
        response = await packed_for(headers, response)
        respond(response, self.draining or self._leaves())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens, with JSON."""
        route, method, handler = self._routes.get(scope["path"]) or self._by_digest(scope) or NO_ROUTE
        try:
            if self._tokens is not None and route not in OPEN:
                self._tokens.check(header(scope["headers"], b"authorization"), browser=route == "console")
            if handler is None:
                raise self._unknown(scope["path"])
            if scope["method"] not in METHODS[method]:
                allowed = ", ".join(METHODS[method])
                raise MethodNotAllowedError(
                    f"{scope['method']} is not for {scope['path']}: use {allowed}", {"allow": allowed}
                )
            response = await handler(scope, receive)
        except ClientGoneError:
            return
        except Exception as exc:  # noqa: BLE001 (the request's boundary)
            response = _failure(route, exc)
        if route in ("predict", "infer") and response.status != 401 and "x-model-digest" not in response.headers:
            response.headers |= self.versions.main.headers
        self.versions.metrics.count(route, response.status)
        response = await packed_for(scope["headers"], response)
        await response.send(scope, send, self.draining or self._leaves())

    def _leaves(self) -> bool:
        """Whether this answer is one of those that send their client elsewhere."""
        if self.leaving > 0:
            self.leaving -= 1
            return True
        return False

    async def _predict(self, scope: Scope, receive: Receive, asked: ServedModel | None = None) -> Response:
        return await self._ask(_decode, scope, receive, asked)

    async def _infer(self, scope: Scope, receive: Receive, asked: ServedModel | None = None) -> Response:
        return await self._ask(inference_protocol.decode(scope), scope, receive, asked)

    async def _ask(self, decode: Decode, scope: Scope, receive: Receive, asked: ServedModel | None) -> Response:
        started = time.perf_counter()
        self.in_flight += 1
        try:
            due, key = _due(scope["headers"], started), header(scope["headers"], b"x-request-key")
            with Share(self.held) as share:
                body = await read_body(scope, receive, share)
                return _response(*await self.answer(body, decode, key, asked, started, due))
        finally:
            self.in_flight -= 1
            self.predicted += 1

    async def answer(
        self,
        body: bytes,
        decode: Decode,
        key: bytes | None,
        asked: ServedModel | None,
        started: float,
        due: float | None,
    ) -> tuple[ServedModel, Any]:
        """The version that answers, and its answer, or the exception it met; arguments as `Hurried` has them."""
        answered: asyncio.Future[tuple[ServedModel, Any]] = asyncio.get_running_loop().create_future()

        def done(served: ServedModel, answer: Any) -> None:
            if not answered.done():  # its client is gone
                answered.set_result((served, answer))

        question = Question(self.versions, body, decode, key, asked, started, done)
        if due is not None:
            question = Hurried(self.versions, body, decode, key, asked, started, done, due=due)
        question.begin()
        return await answered

    def _by_digest(self, scope: Scope) -> tuple[str, str, Handler] | None:
        """The route of a path that names a version by the beginning of its digest."""
        path: str = scope["path"]
        base = f"{path[:3]}/models/{self.versions.name}/versions/"
        if path[:3] not in ("/v1", "/v2") or not path.startswith(base):
            return None
        asked = re.split("[:/]", path.removeprefix(base), maxsplit=1)[0]
        try:
            found = self.versions.find(asked)
        except NotFoundError:
            return None
        return self._routes.get(base + found.version + path.removeprefix(base + asked))

    async def _status(self, _scope: Scope, _receive: Receive, asked: ServedModel | None = None) -> Response:
        refused = self.traffic.get("refused") if asked is None else None
        return Response.of(describing.status([asked] if asked else list(self.versions), refused))

    async def _traffic(self, _scope: Scope, _receive: Receive) -> Response:
        return Response.of(describing.traffic(self.versions, self.traffic))

    async def _skew(self, served: ServedModel, _scope: Scope, _receive: Receive) -> Response:
        if served.skew is None:
            raise NotFoundError("this server observes nothing: it was started with --window-seconds 0")
        return Response.of(served.skew.to_json())

    async def _healthz(self, _scope: Scope, _receive: Receive) -> Response:
        return Response.of({"status": "alive"})

    async def _readyz(self, _scope: Scope, _receive: Receive) -> Response:
        state = "stopping" if self.draining else "ready" if self.versions.available else "loading"
        if state == "ready" and self.versions.main.stuck:  # of any other version, a rollout's gates judge
            state = "stuck"
        response = Response.of({"status": state})
        if self._tokens is None:  # else who asks may know nothing of the model
            response.headers |= self.versions.main.headers
        if state != "ready":
            response.status = 503
            response.headers["retry-after"] = "1"
        return response

    async def _live(self, _scope: Scope, _receive: Receive) -> Response:
        return Response.of({"live": True})

    async def _ready(self, scope: Scope, receive: Receive) -> Response:
        response = await self._readyz(scope, receive)
        response.body = encode({"ready": response.status == 200})
        return response

    async def _model_ready(self, _scope: Scope, _receive: Receive, asked: ServedModel | None = None) -> Response:
        served = asked or self.versions.main
        ready = served.available and not served.stuck and not self.draining
        response = Response.of({"name": served.name, "ready": ready})
        response.status = 200 if ready else 503
        return response

    async def _metrics(self, _scope: Scope, _receive: Receive) -> Response:
        rendered = self.versions.metrics.render(await self.totals() if self.totals else None)
        return Response(rendered, content_type="text/plain; version=0.0.4; charset=utf-8")

    def _unknown(self, path: str) -> NotFoundError:
        """What to say about a path that leads nowhere."""
        name = self.versions.name
        if path.startswith(("/v1/models/", "/v2/models/")):
            model, _, rest = path[len("/v1/models/") :].partition("/")
            model = model.partition(":")[0]
            if model != name:
                return NotFoundError(f"no model {shorten(model)} here: this server has {name!r}")
            if rest.startswith("versions/"):
                asked = rest.removeprefix("versions/").partition("/")[0].partition(":")[0]
                try:
                    self.versions.find(asked)
                except NotFoundError as exc:
                    return exc
        return NotFoundError(f"no route {shorten(path)}{suggestion(path, self._routes)}")


def _due(headers: Headers, started: float) -> float | None:
    """When a request that began at `started` is over by its own word; None if it has none.

    Raises:
        RequestError: its word is no time.
    """
    stated = header(headers, TIMEOUT)
    if stated is None:
        return None
    try:
        seconds = float(stated)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise RequestError(f"{TIMEOUT.decode()} is {shorten(stated.decode('latin-1'))}, expected seconds above 0")
    return started + seconds


def _decode(served: ServedModel, body: bytes) -> Asked:
    """TensorFlow Serving's interface."""
    request = served.decoder.decode(body)
    name = "outputs" if request.columnar else OUTPUT
    return Asked(request.rows, lambda predictions: Response.of({name: predictions}))


def _response(served: ServedModel, answer: Any) -> Response:
    """The answer of a version, or of what it met."""
    response = _failure("predict", answer) if isinstance(answer, Exception) else answer
    response.headers |= served.headers
    return response


def _failure(route: str, exc: Exception) -> Response:
    """The answer to a request that could not be answered: the client's fault in words, ours as an incident."""
    if isinstance(exc, RequestError):
        return Response.of_error(exc)
    return Response(encode({"error": failure_said(route, exc)}), status=500)


def failure_said(route: str, exc: Exception) -> str:
    """What a client is told of an exception: its fault as it is, ours as an incident that the log explains."""
    if isinstance(exc, RequestError):
        return str(exc)
    incident = uuid.uuid4().hex[:12]
    logger.error("request failed", exc_info=exc, extra={"fields": {"route": route, "incident": incident}})
    return f"the server failed; its log has the incident {incident}"


def _constant(body: bytes, headers: dict[str, str] | None = None) -> Handler:
    """A handler whose answer is known from the start."""

    async def handler(_scope: Any, _receive: Any) -> Response:
        return Response(body, headers=dict(headers or {}))

    return handler
