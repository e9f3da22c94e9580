"""A strategy's roles, and TF_CONFIG from a job's roles: pure, the same for every platform."""

import json
from collections.abc import Callable, Mapping

from penstock.errors import StrategyRefused

STRATEGIES = ("local", "mirrored", "multiworker", "parameter-server", "tpu")
CLUSTER_ROLES = ("chief", "ps", "worker")
"""Roles that talk to each other. An evaluator or a trial must stay outside: inside, it would hang the coordinator."""

Address = Callable[[str, int], str]
"""Where replica `index` of `role` is reached: `host:port`."""


def roles(strategy: str, parameter_servers: int | None = None, workers: int | None = None) -> dict[str, int]:
    """How many replicas each role of a training has, by role; None stands for the strategy's own default.

    Raises:
        StrategyRefused: the strategy is unknown, or has no use for what was asked for.
    """
    if strategy not in STRATEGIES:
        raise StrategyRefused(f"strategy is {strategy!r}; use one of {', '.join(STRATEGIES)}")
    if strategy == "parameter-server":
        servers, many = (2 if count is None else count for count in (parameter_servers, workers))
        if servers < 1 or many < 1:
            raise StrategyRefused(
                f"strategy 'parameter-server' needs at least 1 parameter server and 1 worker, not {servers} and "
                f"{many}; to train in one process use strategy 'local'"
            )
        return {"chief": 1, "ps": servers, "worker": many}
    if parameter_servers:
        raise StrategyRefused(
            f"strategy {strategy!r} keeps a copy of the variables in every process: {parameter_servers} parameter "
            "servers would have nothing to do; leave parameter_servers out, or use strategy 'parameter-server'"
        )
    if strategy == "multiworker":
        many = 2 if workers is None else workers
        if many < 2:
            raise StrategyRefused("strategy 'multiworker' needs at least 2 workers; for one process use 'local'")
        return {"chief": 1, "worker": many - 1}  # the chief is the first of them
    if workers is not None:
        reason = {
            "local": "trains in one process",
            "mirrored": "uses the accelerators of one host from one process",
            "tpu": "drives all hosts of its slice from one process",
        }[strategy]
        raise StrategyRefused(
            f"strategy {strategy!r} {reason}: {workers} workers would have nothing to do; leave workers out, or use "
            "strategy 'multiworker' or 'parameter-server'"
        )
    return {"chief": 1}


def check_arithmetic(strategy: str, precision: str, xla: bool) -> None:
    """Refuse lower precision and XLA where the trainer would.

    Raises:
        StrategyRefused: the strategy keeps variables on parameter servers.
    """
    for what, asked in ((f"precision {precision!r}", precision != "float32"), ("xla", xla)):
        if asked and strategy == "parameter-server":
            raise StrategyRefused(
                f"{what} does not go with strategy 'parameter-server', whose steps use variables on other machines; "
                "leave it out, or choose a strategy without parameter servers"
            )


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
