"""TF_CONFIG from a job's roles: pure, the same for every platform."""

import json
from collections.abc import Callable, Mapping

CLUSTER_ROLES = ("chief", "ps", "worker")
"""Roles that talk to each other. An evaluator or a trial must stay outside: inside, it would hang the coordinator."""

Address = Callable[[str, int], str]
"""Where replica `index` of `role` is reached: `host:port`."""


def members(replicas: Mapping[str, int]) -> list[tuple[str, int]]:
    """The (role, index) pairs that form the cluster; empty for a job whose processes work on their own."""
    cluster = {role: replicas[role] for role in CLUSTER_ROLES if replicas.get(role, 0) > 0}
    if "ps" not in cluster and "worker" not in cluster:
        return []
    return [(role, index) for role, count in cluster.items() for index in range(count)]


def tf_config(replicas: Mapping[str, int], address: Address, role: str, index: int) -> str | None:
    """The TF_CONFIG of one replica, or None for a replica that is in no cluster."""
    cluster: dict[str, list[str]] = {}
    for member, position in members(replicas):
        cluster.setdefault(member, []).append(address(member, position))
    if role not in cluster or not 0 <= index < len(cluster[role]):
        return None
    return json.dumps({"cluster": cluster, "task": {"type": role, "index": index}}, sort_keys=True)
