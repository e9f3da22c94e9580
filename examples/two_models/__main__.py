"""Two models behind one endpoint, on this machine: the new one answers a tenth of the requests.

    pulumi config set --path model.path ../artifacts/models/0bd2f1c3a4e59687
    pulumi config set --path model.digest sha256:...
    pulumi up                                            # the first one answers everything
    pulumi config set --path model.path ...              # the other one's folder and digest, then
    pulumi config set --path traffic.latest 10
    pulumi config set --path traffic.previous 90
    pulumi up

An endpoint knows every model that it was given; `traffic` says who answers how much, by `latest`, `previous`, number or
digest.
"""

import pulumi

from penstock import Endpoint, LocalPlatform

config = pulumi.Config()
served = Endpoint(
    "late",
    {
        "platform": LocalPlatform(),
        "model": config.require_object("model"),
        "model_name": "late",
        "traffic": config.get_object("traffic"),
        "port": config.get_int("port") or 8501,
    },
)
pulumi.export("url", served.model_url)
