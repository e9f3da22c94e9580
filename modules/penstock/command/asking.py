"""One request to an endpoint, from the machine or pod that it runs on: a module, and a program for `python -c`.

    python -c "$(cat asking.py)" '{"url": ..., "body": ..., "token_file": ..., "certificate": ...}'

prints {"status", "digest", "body"}. Standard library only, since it runs where the server does.
"""

import json
import ssl
import sys
import urllib.error
import urllib.request
from typing import Any


def ask(url: str, body: Any = None, token_file: str | None = None, certificate: str | None = None) -> dict[str, Any]:
    """The answer: its HTTP status, the model digest it carries, its JSON. With `certificate`, only its holder's."""
    headers = {"content-type": "application/json"}
    if token_file:
        with open(token_file) as file:  # noqa: PTH123 (runs in environments of others)
            lines = [line.strip() for line in file]
        headers["authorization"] = "Bearer " + next(line for line in lines if line and not line.startswith("#"))
    trusting = None
    if certificate:
        trusting = ssl.create_default_context(cafile=certificate)
        # The very certificate that the stack's configuration names, whoever has signed it and for whatever host.
        trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        trusting.check_hostname = False
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30, context=trusting) as answer:
            return _told(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as exc:
        with exc:
            return _told(exc.code, exc.headers, exc.read())


def _told(status: int, headers: Any, body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body or b"null")
    except ValueError:
        if status < 400:
            raise
        # Not the server refused, but something before it, by a page.
        content = body.decode(errors="replace")
    return {"status": status, "digest": headers.get("x-model-digest"), "body": content}


if __name__ == "__main__":
    print(json.dumps(ask(**json.loads(sys.argv[1]))))
