"""Any Kubernetes cluster: JobSets, Deployments and what keeps them safe, from a kubeconfig alone."""

from penstock.kubernetes.cluster_args import ClusterArgs
from penstock.kubernetes.platform import KubernetesPlatform
from penstock.kubernetes.pods import Machine
from penstock.kubernetes.serving import ScaleOn

__all__ = ["ClusterArgs", "KubernetesPlatform", "Machine", "ScaleOn"]
