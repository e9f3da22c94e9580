"""Knows the package `penstock` by its schema alone, as a program in any language does: it imports none of it."""

import json
from pathlib import Path
from typing import Any

import pulumi

SCHEMA = json.loads(Path("schema.json").read_text())


class Remote(pulumi.ComponentResource):
    """Any component of the schema; its outputs are attributes by the schema's names."""

    def __init__(self, token: str, name: str, inputs: dict[str, Any]) -> None:
        described = SCHEMA["resources"][token]
        assert set(described.get("requiredInputs", ())) <= inputs.keys() <= described["inputProperties"].keys()
        super().__init__(token, name, {**dict.fromkeys(described["properties"]), **inputs}, remote=True)


config = pulumi.Config()
model = config.require_object("model")
served = Remote(
    "penstock:index:Endpoint",
    "late",
    {
        "platform": config.require_object("platform"),
        # The digest is known only while the program runs, as another resource's output is.
        "model": {"path": model["path"], "digest": pulumi.Output.from_input(model["digest"])},
        "modelName": "late",
        "port": config.require_int("port"),
        "idleSeconds": 120.5,
    },
)
pulumi.export("url", getattr(served, "modelUrl"))  # noqa: B009 (the schema's name, which no type checker knows)
pulumi.export("base", getattr(served, "url"))  # noqa: B009
for name, (kind, inputs) in (config.get_object("others") or {}).items():
    Remote(f"penstock:index:{kind}", name, inputs)
