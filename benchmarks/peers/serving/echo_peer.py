"""The same HTTP server with a bare application on it: decodes the JSON of a request and posts it back."""

import os
from typing import Any

import msgspec
import uvicorn

from penstock_serving.messages import read_body
from penstock_serving.protocol import PatientProtocol

HEADERS = [(b"content-type", b"application/json")]
decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer one request."""
    body = encode(decode(await read_body(scope, receive)))
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, length]})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    settings: dict[str, Any] = {"http": PatientProtocol, "loop": "uvloop", "ws": "none", "lifespan": "off"}
    settings |= {"access_log": False, "server_header": False, "proxy_headers": False, "log_level": "error"}
    uvicorn.run(echo, host="127.0.0.1", port=int(os.environ["PORT"]), backlog=2048, **settings)
