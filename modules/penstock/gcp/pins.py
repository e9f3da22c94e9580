"""What Google computes or changes behind a program's back, and what must not be replaced unasked. Pure."""

from collections.abc import Mapping

CLUSTER_DRIFT = ["initialNodeCount", "minMasterVersion", "nodeVersion", "nodeConfig", "nodePools", "clusterIpv4Cidr"]
"""Of a cluster: the default pool that is removed at once, versions that the channel raises, a range that GKE picks."""

POOL_DRIFT = [
    "initialNodeCount",
    "nodeCount",
    "version",
    "nodeConfig.kubeletConfig",
    "nodeConfig.taints",
    "nodeConfig.loggingVariant",
]
"""Of a pool: sizes the autoscaler sets, versions the channel raises, taints that GKE adds for GPUs and TPUs."""

DATABASE_DRIFT = ["settings.diskSize", "settings.maintenanceVersion"]
"""Of a database: the disk that grows by itself."""

SERVICE_DRIFT = ["client", "clientVersion", "launchStage"]
"""Of a Cloud Run service: who touched it last."""

KEPT = {
    "gcp:container/cluster:Cluster": "cluster",
    "gcp:container/nodePool:NodePool": "node pool",
    "gcp:storage/bucket:Bucket": "bucket",
    "gcp:sql/databaseInstance:DatabaseInstance": "database",
    "gcp:cloudrunv2/service:Service": "endpoint",
}
"""What holds data or serves: it is replaced with a named approval only."""


def refused(steps: Mapping[str, tuple[str, str]], approved: tuple[str, ...]) -> list[str]:
    """Why a plan must not be carried out; `steps` is name to (type, operation) as `pulumi preview --json` tells it."""
    return [
        f"the plan replaces the {KEPT[token]} {name}: `approve_replacement` in the stack's settings must name it"
        for name, (token, operation) in sorted(steps.items())
        if token in KEPT and operation in ("replace", "create-replacement", "delete-replaced") and name not in approved
    ]
