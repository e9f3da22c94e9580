"""The page at `/`: what is served, and a form to try a row. One file of HTML that loads nothing from anywhere."""

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from penstock_serving.describing import attestation
from penstock_serving.messages import Response, encode
from penstock_serving.served import ServedModel

PLACE = "/*facts*/null"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"


def console_page(served: ServedModel) -> Callable[[Any, Any], Awaitable[Response]]:
    """The handler of the page, with this model's facts written into it."""
    schema = served.sealed.schema
    facts = {
        "attestation": attestation(served),
        "schema": {
            "label": schema.label,
            "head": schema.head,
            "classes": schema.classes,
            "columns": [{"name": c.name, "type": c.type.value, "required": c.required} for c in schema.columns],
        },
        "samples": served.sealed.samples["instances"][:50],
    }
    # "<" cannot end the script element from within a JSON string once it is spelled as an escape.
    text = encode(facts).decode().replace("<", "\\u003c")
    body = files("penstock_serving").joinpath("console.html").read_text(encoding="utf-8").replace(PLACE, text).encode()

    async def handler(_scope: Any, _receive: Any) -> Response:
        return Response(body, content_type="text/html; charset=utf-8", headers={"content-security-policy": POLICY})

    return handler
