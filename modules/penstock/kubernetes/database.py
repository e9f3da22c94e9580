"""The PostgreSQL that the processes of one study share, reached from their pods: pure functions."""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from penstock.kubernetes import kinds
from penstock.kubernetes.pods import labels
from penstock.platform import Job

PORT = 5432
PASSWORD = "password"


def url(job: Job) -> str:
    """The database that a job's command names; empty where it names none."""
    for role in job.roles.values():
        if "--storage" in role.command:
            return str(role.command[list(role.command).index("--storage") + 1])
    return ""


def edge(name: str, stack: str, address: str) -> dict[str, Any]:
    """The job's pods reach the database's port: at its address, or anywhere, as policies know no names."""
    found = urlsplit(address)
    try:
        network = ipaddress.ip_network(found.hostname or "")
    except ValueError:
        where = {}
    else:
        where = {"to": [{"ipBlock": {"cidr": str(network)}}]}
    rule = {**where, "ports": [{"protocol": "TCP", "port": found.port or PORT}]}
    return kinds.way_out(f"{name}-database", stack, name, rule)


def secret(name: str, stack: str) -> dict[str, Any]:
    """What the password is kept in, without the password itself."""
    return kinds.secret(f"{name}-database", labels(stack, name, "database"))


def environment(secret_name: str) -> list[dict[str, Any]]:
    """How a pod is told the password."""
    return [{"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": secret_name, "key": PASSWORD}}}]
