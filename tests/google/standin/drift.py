"""What a cloud changes by itself on what a program has deployed, as a refresh then reads it: the worst that could come
back for each field that `penstock.gcp.pins` names.
"""

from typing import Any

from standin.cloud import Cloud

TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}
VALUES: dict[str, dict[str, Any]] = {
    "gcp:container/cluster:Cluster": {
        "initialNodeCount": 0,
        "minMasterVersion": "1.35.0-gke.1",
        "nodeVersion": "1.35.0-gke.1",
        "nodeConfig": {"machineType": "e2-medium"},
        "nodePools": [{"name": "default-pool"}],
        "clusterIpv4Cidr": "10.44.0.0/14",
    },
    "gcp:container/nodePool:NodePool": {
        "initialNodeCount": 2,
        "nodeCount": 2,
        "version": "1.35.0-gke.1",
        "nodeConfig.kubeletConfig": {"cpuManagerPolicy": "none", "insecureKubeletReadonlyPortEnabled": "FALSE"},
        "nodeConfig.taints": [TAINT],
        "nodeConfig.loggingVariant": "DEFAULT",
    },
    "gcp:sql/databaseInstance:DatabaseInstance": {
        "settings.diskSize": 40,
        "maintenanceVersion": "POSTGRES_17_2.R20261101",
    },
    "gcp:cloudrunv2/service:Service": {"client": "gcloud", "clientVersion": "560.0.0", "launchStage": "BETA"},
    "gcp:workbench/instance:Instance": {
        "gceSetup.vmImage": {"project": "cloud-notebooks-managed", "family": "workbench-instances"},
        "gceSetup.bootDisk": {"diskSizeGb": "150"},
    },
}
"""By type and place."""


def write(cloud: Cloud) -> set[str]:
    """Changes everything that there is of those types; the types that were there."""
    with cloud.resources() as resources:
        for each in resources.values():
            for place, value in VALUES.get(each["type"], {}).items():
                *above, last = place.split(".")
                for content in (each["inputs"], each["outputs"]):
                    own = content
                    for field in above:
                        own = own.setdefault(field, {})
                    own[last] = value
        return {each["type"] for each in resources.values()} & set(VALUES)
