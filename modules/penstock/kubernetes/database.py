"""The PostgreSQL that the processes of one study share, one's own or one that the stack makes: pure functions."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from penstock.kubernetes import kinds
from penstock.kubernetes.pods import KEYS, Machine, PodSpec, labels, pod, selector
from penstock.platform import Job, Program, Resources

PORT = 5432
PASSWORD = "password"
MADE = "postgresql"
"""As a study's storage: the stack makes the database."""
USER = "penstock"
DATA = "/var/lib/postgresql"
CLAIM_GIB = 4
"""Of which its write-ahead log may take one."""
SHUTDOWN_SECONDS = 60
PASSWD = "passwd"
ACCOUNTS = "penstock:x:65532:65532::/tmp:/bin/sh\n"
"""initdb wants the user that it runs as to have a name, and an image knows no such user."""
START = f"""\
set -eu
if [ ! -d {DATA}/cluster ]; then
  rm -rf {DATA}/begun
  initdb --pgdata={DATA}/begun --username={USER} --pwfile={KEYS}/{PASSWORD} \
--auth=scram-sha-256 --encoding=UTF8 --locale=C
  echo 'host all all all scram-sha-256' >> {DATA}/begun/pg_hba.conf
  mv {DATA}/begun {DATA}/cluster
fi
exec postgres -D {DATA}/cluster -c listen_addresses='*' -c unix_socket_directories=/tmp
"""
"""A database that was begun and not finished is begun anew."""


@dataclass(frozen=True)
class DatabaseArgs:
    """What a database that the stack makes takes beside its study's name."""

    stack: str
    image: str
    """With `initdb`, `postgres`, `pg_isready` and a shell on its PATH."""
    storage_class: str = ""
    """Empty: the cluster's default."""
    machine: Machine = field(default_factory=Machine)


def url(job: Job) -> str:
    """The database that a job's command names; empty where it names none."""
    for role in job.roles.values():
        if "--storage" in role.command:
            return str(role.command[list(role.command).index("--storage") + 1])
    return ""


def at(job: Job, address: str) -> Job:
    """The job with that database in the place of the one that its commands name."""

    def told(command: Sequence[Any]) -> list[Any]:
        found = list(command)
        if "--storage" in found:
            found[found.index("--storage") + 1] = address
        return found

    return replace(job, roles={name: replace(role, command=told(role.command)) for name, role in job.roles.items()})


def own_url(name: str) -> str:
    """Where the study `name` finds the database that the stack makes for it."""
    return f"postgresql://{USER}@{_own(name)}:{PORT}/postgres"


def edge(name: str, stack: str, address: str) -> dict[str, Any]:
    """The job's pods reach the database's port: its pods, where the stack makes it; else at its address, or anywhere,
    as policies know no names."""
    found = urlsplit(address)
    if address == own_url(name):
        where: dict[str, Any] = {"to": [{"podSelector": {"matchLabels": selector(stack, _own(name))}}]}
    else:
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
    return kinds.secret(_own(name), labels(stack, name, "database"))


def environment(secret_name: str) -> list[dict[str, Any]]:
    """How a pod is told the password."""
    return [{"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": secret_name, "key": PASSWORD}}}]


def objects(name: str, args: DatabaseArgs) -> dict[str, dict[str, Any]]:
    """The database of the study `name`, beside its Secret and its study's way to it, by what each object is for; the
    server comes last, as it takes the others."""

    def metadata(role: str) -> dict[str, Any]:
        return {"name": _own(name), "labels": labels(args.stack, _own(name), role)}

    chosen = selector(args.stack, _own(name))
    ports = [{"protocol": "TCP", "port": PORT}]
    callers = {
        "podSelector": {"matchLabels": chosen},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": selector(args.stack, name)}}], "ports": ports}],
    }
    address = {
        "clusterIP": "None",
        "selector": chosen,
        "ports": [{"name": MADE, "port": PORT, "targetPort": PORT, "protocol": "TCP"}],
    }
    policy = {**metadata("policy"), "name": f"{_own(name)}-callers"}
    return {
        "account": {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata("account"),
            "automountServiceAccountToken": False,
        },
        "user": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("user"), "data": {PASSWD: ACCOUNTS}},
        "callers": {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": policy,
            "spec": callers,
        },
        "address": {"apiVersion": "v1", "kind": "Service", "metadata": metadata("address"), "spec": address},
        "server": _server(name, metadata("database"), chosen, args),
    }


def _own(name: str) -> str:
    return f"{name}-database"


def _server(name: str, metadata: Mapping[str, Any], chosen: Mapping[str, str], args: DatabaseArgs) -> dict[str, Any]:
    claimed = {"storageClassName": args.storage_class} if args.storage_class else {}
    claim = {
        "metadata": {"name": "data", "labels": metadata["labels"]},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": f"{CLAIM_GIB}Gi"}},
            **claimed,
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": dict(metadata),
        "spec": {
            "replicas": 1,
            "serviceName": _own(name),
            "selector": {"matchLabels": chosen},
            "template": {"metadata": {"labels": metadata["labels"]}, "spec": _pod(name, args)},
            "volumeClaimTemplates": [claim],
            # It is where the processes of a study meet, and no more: what they found is sealed in the artifact store.
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
        },
    }


def _pod(name: str, args: DatabaseArgs) -> dict[str, Any]:
    def asked(*command: str) -> dict[str, Any]:
        return {"exec": {"command": list(command)}}

    spec = PodSpec(
        program=Program.TRAINER,
        image=args.image,
        arguments=["-c", START],
        resources=Resources(0.25, 0.5),
        machine=args.machine,
        keys=_own(name),
        ports={MADE: PORT},
        extra={
            "name": MADE,
            "command": ["sh"],
            "readinessProbe": {**asked("pg_isready", "--quiet", "--host=127.0.0.1"), "periodSeconds": 2},
            "livenessProbe": {"tcpSocket": {"port": PORT}, "initialDelaySeconds": 60, "periodSeconds": 10},
            # On SIGTERM alone it would wait until all its clients have gone.
            "lifecycle": {"preStop": asked("sh", "-c", "kill -INT 1")},
        },
    )
    made = pod(spec)
    made["containers"][0]["volumeMounts"] += [
        {"name": "data", "mountPath": DATA},
        {"name": "user", "mountPath": f"/etc/{PASSWD}", "subPath": PASSWD, "readOnly": True},
    ]
    made["volumes"].append({"name": "user", "configMap": {"name": _own(name)}})
    return {**made, "serviceAccountName": _own(name), "terminationGracePeriodSeconds": SHUTDOWN_SECONDS}
