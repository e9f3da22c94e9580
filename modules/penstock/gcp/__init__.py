"""Google Cloud: its parts, each of use alone."""

from penstock.gcp.artifact_store import ArtifactStore, ArtifactStoreArgs
from penstock.gcp.budget_guard import BudgetGuard, BudgetGuardArgs
from penstock.gcp.cloud_run_endpoint import CloudRunEndpoint, CloudRunEndpointArgs
from penstock.gcp.cluster import Cluster, ClusterArgs
from penstock.gcp.dashboard import Dashboard, DashboardArgs
from penstock.gcp.dataflow import DataflowPreprocessing, DataflowPreprocessingArgs
from penstock.gcp.environment import Accelerator, Budget, Environment
from penstock.gcp.identities import Identities, IdentitiesArgs
from penstock.gcp.image_registry import ImageRegistry, ImageRegistryArgs
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
    "Identities",
    "IdentitiesArgs",
    "ImageRegistry",
    "ImageRegistryArgs",
    "MachinePool",
    "Network",
    "NetworkArgs",
    "Notebook",
    "NotebookArgs",
    "PoolArgs",
    "StudyDatabase",
    "StudyDatabaseArgs",
]
