"""Serves a model that exists already, on this machine.

    pulumi config set model ../artifacts/models/0bd2f1c3a4e59687   # its folder
    pulumi config set digest sha256:...                            # what is served is this, or nothing
    pulumi up

It takes `pip install penstock` in `.venv`, and `pip install penstock-serving` in `serving/.venv`.
"""

import pulumi

from penstock import Endpoint, LocalPlatform

config = pulumi.Config()
served = Endpoint(
    "late",
    {
        "platform": LocalPlatform(),
        "model": {"path": config.require("model"), "digest": config.require("digest")},
        "model_name": "late",
        "port": config.get_int("port") or 8501,
    },
)
pulumi.export("url", served.model_url)
