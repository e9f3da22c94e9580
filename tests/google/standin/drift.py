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
        "nodeConfig.ephemeralStorageLocalSsdConfig": {"localSsdCount": 16},
        "nodeConfig.localNvmeSsdBlockConfig": {"localSsdCount": 1},
        "nodeConfig.localSsdCount": 1,
        "nodeConfig.guestAccelerators[0].gpuDriverInstallationConfig": {"gpuDriverVersion": "LATEST"},
    },
    "gcp:sql/databaseInstance:DatabaseInstance": {
        "settings.diskSize": 40,
        "maintenanceVersion": "POSTGRES_17_2.R20261101",
    },
    "gcp:cloudrunv2/service:Service": {"client": "gcloud", "clientVersion": "560.0.0", "launchStage": "BETA"},
    "gcp:workbench/instance:Instance": {
        "gceSetup.vmImage": {"project": "cloud-notebooks-managed", "family": "workbench-instances"},
        "gceSetup.bootDisk": {"diskSizeGb": "150", "diskType": "PD_BALANCED"},
        "gceSetup.dataDisks": {"diskSizeGb": "100", "diskType": "PD_BALANCED"},
        "gceSetup.networkInterfaces[0].nicType": "GVNIC",
        "gceSetup.tags": ["deeplearning-vm", "notebook-instance"],
    },
}
"""By type and place."""


def write(cloud: Cloud) -> set[str]:
    """Changes everything that there is of those types; the types that were there."""
    with cloud.resources() as resources:
        for each in resources.values():
            for place, value in VALUES.get(each["type"], {}).items():
                _put(each["inputs"], place, value)
                _put(each["outputs"], place, value)
        return {each["type"] for each in resources.values()} & set(VALUES)


def _put(content: dict[str, Any], place: str, value: Any) -> None:
    """Writes a value at a place; of a list that is not there, there is nothing to change."""
    *above, last = place.split(".")
    for field in above:
        name, first, _ = field.partition("[0]")
        if first and not content.get(name):
            return
        content = content[name][0] if first else content.setdefault(name, {})
    content[last] = value
