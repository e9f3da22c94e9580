"""What Google computes or changes behind a program's back, and what must not be replaced unasked. Pure."""

from collections.abc import Collection, Mapping

CLUSTER_DRIFT = ["initialNodeCount", "minMasterVersion", "nodeVersion", "nodeConfig", "nodePools", "clusterIpv4Cidr"]
"""Of a cluster: the default pool that is removed at once, versions that the channel raises, a range that GKE picks."""

POOL_DRIFT = [
    "initialNodeCount",
    "nodeCount",
    "version",
    "nodeConfig.kubeletConfig",
    "nodeConfig.taints",
    "nodeConfig.loggingVariant",
    "nodeConfig.ephemeralStorageLocalSsdConfig",
    "nodeConfig.localNvmeSsdBlockConfig",
    "nodeConfig.localSsdCount",
]
"""Of a pool: sizes the autoscaler sets, versions the channel raises, taints that GKE adds for GPUs and TPUs, disks that
come attached to some machines, such as those with H100; any of the last would be a replacement.
"""

DRIVER_DRIFT = ["nodeConfig.guestAccelerators[0].gpuDriverInstallationConfig"]
"""Of a pool with GPUs besides: which drivers Google installs where nobody says so changes with GKE's version."""

DATABASE_DRIFT = ["settings.diskSize", "maintenanceVersion"]
"""Of a database: the disk that grows by itself."""

NOTEBOOK_DRIFT = [
    "gceSetup.vmImage",
    "gceSetup.bootDisk",
    "gceSetup.dataDisks",
    "gceSetup.networkInterfaces[0].nicType",
    "gceSetup.tags",
]
"""Of a notebook: its image, its disks (whose key is told to Google and never told back), its card, tags that Google
adds. Each is made anew with the notebook, and what is on its data disk would be lost.
"""

SERVICE_DRIFT = ["client", "clientVersion", "launchStage"]
"""Of a Cloud Run service: who touched it last."""

REPLACING = ("replace", "create-replacement", "delete-replaced")
KEPT = {
    "gcp:container/cluster:Cluster": "cluster",
    "gcp:container/nodePool:NodePool": "node pool",
    "gcp:storage/bucket:Bucket": "bucket",
    "gcp:sql/databaseInstance:DatabaseInstance": "database",
    "gcp:cloudrunv2/service:Service": "endpoint",
    "gcp:compute/address:Address": "endpoint's address",
}
"""What holds data or serves: it is replaced with a named approval only."""
SERVING = {
    "kubernetes:apps/v1:Deployment": "endpoint",
    "kubernetes:gateway.networking.k8s.io/v1:Gateway": "endpoint's load balancer",
}
"""What serves on a cluster, likewise."""


def kept(name: str, protect: bool, approved: Collection[str]) -> bool:
    """Whether the engine is to refuse to replace or delete a resource that holds data or serves."""
    return protect and name not in approved


def refused(plan: Mapping[str, str], approved: Collection[str]) -> list[str]:
    """Why a plan must not be carried out; `plan` is the operation by `type name`, as a preview tells it."""
    found: list[str] = []
    guarded = {**KEPT, **SERVING}
    for each, operation in sorted(plan.items()):
        token, _, name = each.partition(" ")
        if token in guarded and operation in REPLACING and name not in approved:
            found.append(
                f"the plan replaces the {guarded[token]} {name}: that loses what is in it, or interrupts what it does; "
                f"if it is meant, name it in the setting `gcp.approve_replacement`"
            )
    return found
