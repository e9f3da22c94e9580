"""Tunes hyperparameters on an existing Kubernetes cluster, by four processes that share one study.

pulumi config set kubeconfig ~/.kube/config
pulumi config set trainer_image registry.example.com/trainer@sha256:...
pulumi config set serving_image registry.example.com/serving@sha256:...
pulumi config set --path dataset.path /artifacts/dataset/4eddbb64f50a1fa0   # on the claim `artifacts`
pulumi config set --path dataset.digest sha256:...
pulumi up
"""

import pulumi

from penstock import Tuning
from penstock.kubernetes import ClusterArgs, KubernetesPlatform, Machine

config = pulumi.Config()
cluster = KubernetesPlatform(
    pulumi.get_stack(),
    ClusterArgs(
        kubeconfig=config.require("kubeconfig"),
        trainer_image=config.require("trainer_image"),
        serving_image=config.require("serving_image"),
        namespace=config.get("namespace") or "tuning",
        storage_class=config.get("storage_class") or "",
        machines={"trial": Machine(cpus=4, memory_gib=8)},
    ),
)
study = Tuning(
    "study",
    {
        "platform": cluster,
        "store": cluster.storage("store", keep=["study"], opts=pulumi.ResourceOptions()),
        "problem": "flights",
        "dataset": config.require_object("dataset"),
        "trials": 24,
        "processes": 4,
    },
)
pulumi.export("best", study.metrics)
pulumi.export("path", study.path)
