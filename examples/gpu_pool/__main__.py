"""A pool of GPU machines on an existing GKE cluster, from none to four, Spot, with drivers by Google; nothing else.

pulumi config set cluster research
pulumi config set node_service_account nodes@my-project.iam.gserviceaccount.com
pulumi up
"""

import pulumi

from penstock import gcp

config = pulumi.Config()
pool = gcp.AcceleratorPool(
    "l4",
    {
        "cluster": config.require("cluster"),
        "location": config.get("location") or "us-central1",
        "zones": [config.get("zone") or "us-central1-a"],
        "node_service_account": config.require("node_service_account"),
    },
    gcp.Accelerator(type="nvidia-l4", max_nodes=4),
)
pulumi.export("pool", pool.name)
