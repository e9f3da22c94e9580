"""The routes of one server, as an ASGI application."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from penstock_serving import describing
from penstock_serving.console import console_page
from penstock_serving.errors import MethodNotAllowedError, NotFoundError, RequestError
from penstock_serving.explaining import shorten, suggestion
from penstock_serving.messages import ClientGoneError, Receive, Response, Scope, Send, encode, read_body
from penstock_serving.openapi import openapi
from penstock_serving.served import ServedModel

LARGE_BODY = 64 * 1024
"""From this size on a body is decoded beside the event loop, which answers others meanwhile."""
METHODS = {"GET": ("GET", "HEAD"), "POST": ("POST",)}

logger = logging.getLogger("penstock_serving")
Handler = Callable[[Scope, Receive], Awaitable[Response]]


class Application:
    """Answers requests for one model; `draining` makes every answer the last one of its connection."""

    def __init__(self, served: ServedModel) -> None:
        self.served = served
        self.draining = False
        base = f"/v1/models/{served.name}"
        version = f"{base}/versions/{served.version}"
        self._digest = {"x-model-digest": served.sealed.digest}
        self._routes: dict[str, tuple[str, str, Handler]] = {
            f"{base}:predict": ("predict", "POST", self._predict),
            f"{version}:predict": ("predict", "POST", self._predict),
            "/healthz": ("healthz", "GET", self._healthz),
            "/readyz": ("readyz", "GET", self._readyz),
            "/metrics": ("metrics", "GET", self._metrics),
            "/openapi.json": ("openapi", "GET", _constant(encode(openapi(served)))),
            "/": ("console", "GET", console_page(served)),
        }
        for path in (base, version):
            self._routes |= {
                path: ("status", "GET", self._status),
                f"{path}/metadata": ("metadata", "GET", _constant(encode(describing.metadata(served)))),
                f"{path}/attestation": (
                    "attestation",
                    "GET",
                    _constant(encode(describing.attestation(served)), self._digest),
                ),
            }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens, with JSON."""
        started = time.perf_counter()
        route, method, handler = self._routes.get(scope["path"], ("none", "", self._unknown))
        try:
            if method and scope["method"] not in METHODS[method]:
                allowed = ", ".join(METHODS[method])
                raise MethodNotAllowedError(
                    f"{scope['method']} is not for {scope['path']}: use {allowed}", {"allow": allowed}
                )
            response = await handler(scope, receive)
        except RequestError as exc:
            response = Response.of_error(exc)
        except ClientGoneError:
            return
        except Exception as exc:
            incident = uuid.uuid4().hex[:12]
            logger.error("request failed", exc_info=exc, extra={"fields": {"route": route, "incident": incident}})
            response = Response(
                encode({"error": f"the server failed; its log has the incident {incident}"}), status=500
            )
        if route == "predict":
            response.headers |= self._digest
            self.served.metrics.seconds.observe(time.perf_counter() - started)
        self.served.metrics.count(route, response.status)
        await response.send(send, self.draining)

    async def _predict(self, scope: Scope, receive: Receive) -> Response:
        body = await read_body(scope, receive)
        decode = self.served.decoder.decode
        if len(body) < LARGE_BODY:
            request = decode(body)
        else:
            request = await asyncio.get_running_loop().run_in_executor(None, decode, body)
        predictions = await self.served.predict(request.rows)
        return Response.of({"outputs" if request.columnar else "predictions": predictions})

    async def _status(self, _scope: Scope, _receive: Receive) -> Response:
        return Response.of(describing.status(self.served))

    async def _healthz(self, _scope: Scope, _receive: Receive) -> Response:
        return Response.of({"status": "alive"})

    async def _readyz(self, _scope: Scope, _receive: Receive) -> Response:
        state = "stopping" if self.draining else "ready" if self.served.available else "loading"
        response = Response.of({"status": state}, dict(self._digest))
        if state != "ready":
            response.status = 503
            response.headers["retry-after"] = "1"
        return response

    async def _metrics(self, _scope: Scope, _receive: Receive) -> Response:
        return Response(self.served.metrics.render(), content_type="text/plain; version=0.0.4; charset=utf-8")

    async def _unknown(self, scope: Scope, _receive: Receive) -> Response:
        path: str = scope["path"]
        name, version = self.served.name, self.served.version
        if path.startswith("/v1/models/"):
            model, _, rest = path.removeprefix("/v1/models/").partition("/")
            model = model.partition(":")[0]
            if model != name:
                raise NotFoundError(f"no model {shorten(model)} here: this server has {name!r}")
            if rest.startswith("versions/"):
                asked = rest.removeprefix("versions/").partition("/")[0].partition(":")[0]
                if asked != version:
                    raise NotFoundError(f"model {name!r} has no version {shorten(asked)}: it has {version}")
        raise NotFoundError(f"no route {shorten(path)}{suggestion(path, self._routes)}")


def _constant(body: bytes, headers: dict[str, str] | None = None) -> Handler:
    """A handler whose answer is known from the start."""

    async def handler(_scope: Any, _receive: Any) -> Response:
        return Response(body, headers=dict(headers or {}))

    return handler
