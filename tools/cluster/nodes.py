"""kwok's nodes: made up, but as a scheduler sees real ones."""

from typing import Any


def cpu(index: int) -> dict[str, Any]:
    """A plain machine."""
    return _node(f"cpu-{index:04d}", {"cloud.google.com/gke-nodepool": "cpu"}, {}, None)


def gpu(index: int, count: int = 8) -> dict[str, Any]:
    """A machine with GPUs, tainted and labelled as GKE does it."""
    labels = {"cloud.google.com/gke-accelerator": "nvidia-l4", "cloud.google.com/gke-nodepool": f"gpu-{index // 32}"}
    return _node(f"gpu-{index:04d}", labels, {"nvidia.com/gpu": str(count)}, "nvidia.com/gpu")


def tpu(index: int, hosts_in_slice: int = 8) -> dict[str, Any]:
    """One host of a TPU slice; a node pool is a slice."""
    labels = {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x8",
        "cloud.google.com/gke-nodepool": f"tpu-{index // hosts_in_slice}",
    }
    return _node(f"tpu-{index:04d}", labels, {"google.com/tpu": "4"}, "google.com/tpu")


def _node(name: str, labels: dict[str, str], devices: dict[str, str], taint: str | None) -> dict[str, Any]:
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti", **devices}
    known = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", **labels}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": known, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "spec": {"taints": [{"key": taint, "value": "present", "effect": "NoSchedule"}]} if taint else {},
        "status": {"capacity": capacity, "allocatable": capacity},
    }
