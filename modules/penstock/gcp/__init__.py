"""Google Cloud: its parts, each of use alone.

They are imported when they are asked for: whoever only checks settings pays for no cloud's SDK.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.gcp.artifact_store import ArtifactStore, ArtifactStoreArgs
    from penstock.gcp.budget_guard import BudgetGuard, BudgetGuardArgs
    from penstock.gcp.cloud_run_endpoint import CloudRunEndpoint, CloudRunEndpointArgs
    from penstock.gcp.cluster import Cluster, ClusterArgs
    from penstock.gcp.dashboard import Dashboard, DashboardArgs
    from penstock.gcp.dataflow import DataflowPreprocessing, DataflowPreprocessingArgs
    from penstock.gcp.environment import Accelerator, Budget, Environment
    from penstock.gcp.git_hub import GitHubAccess, GitHubAccessArgs
    from penstock.gcp.gke_endpoint import GkeEndpoint, GkeEndpointArgs
    from penstock.gcp.identities import Identities, IdentitiesArgs
    from penstock.gcp.image_registry import ImageRegistry, ImageRegistryArgs
    from penstock.gcp.key_access import KeyAccess, KeyAccessArgs
    from penstock.gcp.ladder import Ladder, LadderArgs
    from penstock.gcp.network import Network, NetworkArgs
    from penstock.gcp.notebook import Notebook, NotebookArgs
    from penstock.gcp.pool import AcceleratorPool, MachinePool, PoolArgs
    from penstock.gcp.study_database import StudyDatabase, StudyDatabaseArgs

__all__ = [
    "Accelerator",
    "AcceleratorPool",
    "ArtifactStore",
    "ArtifactStoreArgs",
    "Budget",
    "BudgetGuard",
    "BudgetGuardArgs",
    "CloudRunEndpoint",
    "CloudRunEndpointArgs",
    "Cluster",
    "ClusterArgs",
    "Dashboard",
    "DashboardArgs",
    "DataflowPreprocessing",
    "DataflowPreprocessingArgs",
    "Environment",
    "GitHubAccess",
    "GitHubAccessArgs",
    "GkeEndpoint",
    "GkeEndpointArgs",
    "Identities",
    "IdentitiesArgs",
    "ImageRegistry",
    "ImageRegistryArgs",
    "KeyAccess",
    "KeyAccessArgs",
    "Ladder",
    "LadderArgs",
    "MachinePool",
    "Network",
    "NetworkArgs",
    "Notebook",
    "NotebookArgs",
    "PoolArgs",
    "StudyDatabase",
    "StudyDatabaseArgs",
]

_HOMES = {
    "Accelerator": "penstock.gcp.environment",
    "AcceleratorPool": "penstock.gcp.pool",
    "ArtifactStore": "penstock.gcp.artifact_store",
    "ArtifactStoreArgs": "penstock.gcp.artifact_store",
    "Budget": "penstock.gcp.environment",
    "BudgetGuard": "penstock.gcp.budget_guard",
    "BudgetGuardArgs": "penstock.gcp.budget_guard",
    "CloudRunEndpoint": "penstock.gcp.cloud_run_endpoint",
    "CloudRunEndpointArgs": "penstock.gcp.cloud_run_endpoint",
    "Cluster": "penstock.gcp.cluster",
    "ClusterArgs": "penstock.gcp.cluster",
    "Dashboard": "penstock.gcp.dashboard",
    "DashboardArgs": "penstock.gcp.dashboard",
    "DataflowPreprocessing": "penstock.gcp.dataflow",
    "DataflowPreprocessingArgs": "penstock.gcp.dataflow",
    "Environment": "penstock.gcp.environment",
    "GitHubAccess": "penstock.gcp.git_hub",
    "GitHubAccessArgs": "penstock.gcp.git_hub",
    "GkeEndpoint": "penstock.gcp.gke_endpoint",
    "GkeEndpointArgs": "penstock.gcp.gke_endpoint",
    "Identities": "penstock.gcp.identities",
    "IdentitiesArgs": "penstock.gcp.identities",
    "ImageRegistry": "penstock.gcp.image_registry",
    "ImageRegistryArgs": "penstock.gcp.image_registry",
    "KeyAccess": "penstock.gcp.key_access",
    "KeyAccessArgs": "penstock.gcp.key_access",
    "Ladder": "penstock.gcp.ladder",
    "LadderArgs": "penstock.gcp.ladder",
    "MachinePool": "penstock.gcp.pool",
    "Network": "penstock.gcp.network",
    "NetworkArgs": "penstock.gcp.network",
    "Notebook": "penstock.gcp.notebook",
    "NotebookArgs": "penstock.gcp.notebook",
    "PoolArgs": "penstock.gcp.pool",
    "StudyDatabase": "penstock.gcp.study_database",
    "StudyDatabaseArgs": "penstock.gcp.study_database",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
