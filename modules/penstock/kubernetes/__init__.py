"""Any Kubernetes cluster: JobSets, Deployments and what keeps them safe, from a kubeconfig alone."""

from penstock.kubernetes.platform import ClusterArgs, KubernetesPlatform
from penstock.kubernetes.pods import Machine
from penstock.kubernetes.serving import ScaleOn

__all__ = ["ClusterArgs", "KubernetesPlatform", "Machine", "ScaleOn"]
