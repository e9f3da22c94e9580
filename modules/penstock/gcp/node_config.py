"""What every node of every pool has in common. Pure."""

from collections.abc import Mapping
from typing import Any

from penstock.gcp.environment import NODE_DISK_GIB


def node_config(
    machine_type: str, service_account: Any, resource_labels: Mapping[str, str], key: str | None, **further: Any
) -> Any:
    """A node's configuration: its own account, shielded, no metadata of the machine, images streamed; the disk is
    encrypted by `key`, or Google's own.
    """
    return {
        "machine_type": machine_type,
        "service_account": service_account,
        "oauth_scopes": ["https://www.googleapis.com/auth/cloud-platform"],
        "shielded_instance_config": {"enable_secure_boot": True, "enable_integrity_monitoring": True},
        "workload_metadata_config": {"mode": "GKE_METADATA"},
        "metadata": {"disable-legacy-endpoints": "true"},
        "gcfs_config": {"enabled": True},
        "gvnic": {"enabled": True},
        "kubelet_config": {"insecure_kubelet_readonly_port_enabled": "FALSE"},
        "disk_type": "pd-balanced",
        "disk_size_gb": NODE_DISK_GIB,
        "image_type": "COS_CONTAINERD",
        "resource_labels": dict(resource_labels),
        **({"boot_disk_kms_key": key} if key else {}),
        **further,
    }
