"""Pods as a cluster that trusts nobody takes them: pure functions from what a role asks for to a pod's manifest."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.platform import Program, Resources

STORE = "/artifacts"
"""Where every pod has the stack's artifact store."""
DATA = "/data"
"""Where the trainer's pods have the claim with raw files, if there is one; read only."""
PROBLEM = "/problem"
"""Where a problem that is a file of the deploying machine is mounted."""
OBSERVATIONS = "/observations"
"""Where servers write what they observed, and read what the others did."""
MAKE_FOLDER = "import os, sys; os.makedirs(sys.argv[1], exist_ok=True)"
KEYS = "/keys"
"""Where the keys are that a pod was given."""
PLAN = "/plan"
"""Where a server that splits its traffic has the plan for it."""
USER = 65532
MODULES = {Program.TRAINER: "penstock_trainer", Program.SERVER: "penstock_serving"}
OWNER = "app.kubernetes.io/instance"
"""The label that names the stack which something belongs to."""
LABEL = "penstock.dev"
SCRATCH_GIB = 8
RESTRICTED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True)
class Machine:
    """What the pods of one role run on; what is left out is what the role itself asks for."""

    cpus: float | None = None
    """Processors of each pod. Default: what the role asks for."""
    memory_gib: float | None = None
    """Memory of each pod, in GiB. Default: what the role asks for."""
    accelerator: str = "nvidia.com/gpu"
    """The resource that its accelerators are counted by."""
    accelerators: int = 0
    """Accelerators of each pod."""
    node_selector: Mapping[str, str] = field(default_factory=dict[str, str])
    """Labels that a node must have."""


@dataclass(frozen=True)
class PodSpec:
    """What is particular about one role's pods."""

    program: Program
    image: str
    arguments: Sequence[str]
    resources: Resources
    machine: Machine = field(default_factory=Machine)
    environment: Sequence[Mapping[str, Any]] = ()
    claim: str = ""
    data_claim: str = ""
    problem: str = ""
    """Name of the ConfigMap that holds the problem's file."""
    keys: str = ""
    """Name of the Secret that holds keys of the deploying machine."""
    plan: str = ""
    """Name of the ConfigMap that says which versions a server answers with."""
    writes: bool = True
    """Whether it writes to the artifact store."""
    observations: str = ""
    """A folder of the claim that it may write to in any case."""
    ports: Mapping[str, int] = field(default_factory=dict[str, int])
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further fields of the container: probes, lifecycle."""


def pod(spec: PodSpec) -> dict[str, Any]:
    """A pod's `spec`: restricted, nothing writable but the store and a scratch folder, no token of the cluster.

    It is written as the API writes it (no `false` where that is left out, quantities in their largest whole unit): the
    JobSet controller writes it so, and what it changed would be an update in every `up`.
    """
    reads_only = not spec.writes and not spec.observations
    volumes: list[dict[str, Any]] = [{"name": "scratch", "emptyDir": {"sizeLimit": f"{SCRATCH_GIB}Gi"}}]
    mounts: list[dict[str, Any]] = [{"name": "scratch", "mountPath": "/tmp"}]
    if spec.claim:
        claimed = {"claimName": spec.claim, **_read_only(reads_only)}
        volumes.append({"name": "artifacts", "persistentVolumeClaim": claimed})
        mounts.append({"name": "artifacts", "mountPath": STORE, **_read_only(not spec.writes)})
    if spec.data_claim:
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": spec.data_claim, "readOnly": True}})
        mounts.append({"name": "data", "mountPath": DATA, "readOnly": True})
    if spec.problem:
        volumes.append({"name": "problem", "configMap": {"name": spec.problem}})
        mounts.append({"name": "problem", "mountPath": PROBLEM, "readOnly": True})
    if spec.keys:
        volumes.append({"name": "keys", "secret": {"secretName": spec.keys, "defaultMode": 0o440}})
        mounts.append({"name": "keys", "mountPath": KEYS, "readOnly": True})
    if spec.plan:
        volumes.append({"name": "plan", "configMap": {"name": spec.plan}})
        mounts.append({"name": "plan", "mountPath": PLAN, "readOnly": True})
    if spec.observations:
        mounts.append({"name": "artifacts", "mountPath": OBSERVATIONS, "subPath": spec.observations})
    container = {
        "name": spec.program.value,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent" if "@sha256:" in spec.image else "Always",
        "command": ["python", "-m", MODULES[spec.program]],
        "args": list(spec.arguments),
        "env": [{"name": "HOME", "value": "/tmp"}, *spec.environment],
        "resources": _resources(spec),
        "volumeMounts": mounts,
        # What a failing program wrote last is then part of the pod's status, and `up` can tell it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": RESTRICTED,
        **spec.extra,
    }
    if spec.ports:
        container["ports"] = [{"name": name, "containerPort": port} for name, port in spec.ports.items()]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": spec.program.value,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            # Else each start walks over all artifacts to change their group.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **({"initContainers": [_folder_maker(spec)]} if spec.observations else {}),
        "containers": [container],
        "volumes": volumes,
        **_placement(spec.machine),
    }


def labels(stack: str, name: str, role: str) -> dict[str, str]:
    """Whose a pod is, for policies, selectors and bills."""
    return {
        "app.kubernetes.io/name": "penstock",
        OWNER: stack,
        f"{LABEL}/workload": name,
        f"{LABEL}/role": role,
    }


def selector(stack: str, name: str) -> dict[str, str]:
    """Those of the labels by which the pods of a workload are found."""
    return {f"{LABEL}/workload": name, OWNER: stack}


def _folder_maker(spec: PodSpec) -> dict[str, Any]:
    """Makes the folder that a part of the claim is mounted from: the kubelet would make it, for root alone."""
    small = {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "64Mi"}
    return {
        "name": "folder",
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent" if "@sha256:" in spec.image else "Always",
        "command": ["python", "-c", MAKE_FOLDER, f"{STORE}/{spec.observations}"],
        "resources": {"requests": small, "limits": small},
        "volumeMounts": [{"name": "artifacts", "mountPath": STORE}],
        "securityContext": RESTRICTED,
    }


def _resources(spec: PodSpec) -> dict[str, Any]:
    machine = spec.machine
    cpus = machine.cpus or spec.resources.cpus
    mebibytes = math.ceil(1024 * (machine.memory_gib or spec.resources.memory_gib))
    memory = f"{mebibytes}Mi" if mebibytes % 1024 else f"{mebibytes // 1024}Gi"
    devices = {machine.accelerator: str(machine.accelerators)} if machine.accelerators else {}
    disk = {"ephemeral-storage": "1Gi"}
    return {
        "requests": {"cpu": _cpus(cpus), "memory": memory, **disk, **devices},
        # Memory is not to be had twice, idle processors are.
        "limits": {"cpu": _cpus(2 * cpus), "memory": memory, "ephemeral-storage": f"{SCRATCH_GIB + 1}Gi", **devices},
    }


def _cpus(count: float) -> str:
    thousandths = math.ceil(1000 * count)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def _read_only(holds: bool) -> dict[str, bool]:
    return {"readOnly": True} if holds else {}


def _placement(machine: Machine) -> dict[str, Any]:
    placed: dict[str, Any] = {"nodeSelector": dict(machine.node_selector)} if machine.node_selector else {}
    if machine.accelerators:
        # Nodes with accelerators keep others away by a taint of that name.
        placed["tolerations"] = [{"key": machine.accelerator, "operator": "Exists", "effect": "NoSchedule"}]
    return placed
