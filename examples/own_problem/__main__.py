"""From raw files to a served model, with a problem from another repository.

    trainer/.venv/bin/python -m pip install "parcels @ git+https://git.example.com/parcels"
    pulumi config set problem parcels.late
    pulumi config set raw 'data/*.csv'
    pulumi up

A change in that package trains a new model at the next `pulumi up`.
"""

import pulumi

from penstock import LocalPlatform, Pipeline

config = pulumi.Config()
flow = Pipeline(
    "flow",
    {
        "platform": LocalPlatform(),
        "problem": config.require("problem"),
        "preprocessing": {"raw": [config.require("raw")]},
        "tuning": {"trials": config.get_int("trials") or 8, "processes": config.get_int("processes") or 2},
        "training": {"strategy": "local"},
        "endpoint": {"port": config.get_int("port") or 8501},
    },
)
for output in ("endpoint", "console", "rows", "metrics", "model_digest"):
    pulumi.export(output, getattr(flow, output))
