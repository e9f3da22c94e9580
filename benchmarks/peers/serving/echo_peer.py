"""The same HTTP server with a bare application on it: decodes the JSON of a request and posts it back.

By ASGI at `/`, as any application is asked; at `/quick` by the server's shortcut, as Penstock's own is.
"""

import os
from typing import Any

import msgspec
import uvicorn

from penstock_serving.bodies import Held, Share
from penstock_serving.messages import Headers, Respond, Response, read_body
from penstock_serving.protocol import PatientProtocol

HEADERS = [(b"content-type", b"application/json")]
decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode


class Echo:
    """Answers each request with its own JSON."""

    shortcut = b"/quick"
    in_flight = 0

    def __init__(self) -> None:
        self.held = Held()

    def predict(self, _headers: Headers, body: bytes, _started: float, respond: Respond) -> None:
        """One that came by the shortcut."""
        respond(Response(encode(decode(body))), False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One that came by ASGI."""
        with Share(self.held) as share:
            body = encode(decode(await read_body(scope, receive, share)))
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, length]})
        await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    settings: dict[str, Any] = {"http": PatientProtocol, "loop": "uvloop", "ws": "none", "lifespan": "off"}
    settings |= {"access_log": False, "server_header": False, "proxy_headers": False, "log_level": "error"}
    uvicorn.run(Echo(), host="127.0.0.1", port=int(os.environ["PORT"]), backlog=2048, **settings)
