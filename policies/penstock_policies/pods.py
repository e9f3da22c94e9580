"""Pods, wherever they are described: restricted, with requests and limits, without a token."""

from collections.abc import Iterator, Mapping
from typing import Any

from penstock_policies.resource import UNKNOWN, Resource, Rule, at, listed

TEMPLATES = {
    "Pod": "spec",
    "Deployment": "spec.template.spec",
    "StatefulSet": "spec.template.spec",
    "DaemonSet": "spec.template.spec",
    "ReplicaSet": "spec.template.spec",
    "ReplicationController": "spec.template.spec",
    "Job": "spec.template.spec",
    "CronJob": "spec.jobTemplate.spec.template.spec",
    "Workspace": "spec.podTemplate.spec",
    "Service": "spec.template.spec",
}
"""Where each kind has its pods' spec; of a Service, where it is Knative's and has one."""
VOLUMES = ("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret")
CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
SECCOMP = ("RuntimeDefault", "Localhost")


def pods(resource: Resource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each pod's spec that a Kubernetes resource describes, with where it stands."""
    if not resource.type.startswith("kubernetes:"):
        return
    kind = resource.type.rpartition(":")[2]
    if kind in TEMPLATES:
        spec = resource.at(TEMPLATES[kind])
        if isinstance(spec, Mapping):
            yield TEMPLATES[kind], spec
    for job in listed(resource.at("spec.replicatedJobs")) if kind == "JobSet" else ():
        spec = at(job, "template.spec.template.spec")
        if isinstance(spec, Mapping):
            yield f"role {at(job, 'name')}", spec


def containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A pod's containers, those that run before it included."""
    for field in CONTAINERS:
        yield from (each for each in listed(spec.get(field)) if isinstance(each, Mapping))


def _restricted(resource: Resource) -> Iterator[str]:
    if resource.type == "kubernetes:core/v1:Namespace":
        labels = resource.at("metadata.labels") or {}
        level = labels.get("pod-security.kubernetes.io/enforce") if isinstance(labels, Mapping) else UNKNOWN
        if level not in ("restricted", UNKNOWN):
            yield "takes pods that are not restricted: label it pod-security.kubernetes.io/enforce=restricted"
    for where, spec in pods(resource):
        for problem in _of_pod(spec):
            yield f"{where}: {problem}"
        security = spec.get("securityContext") or {}
        for container in containers(spec):
            for problem in _of_container(container, security):
                yield f"{where}, container {container.get('name')}: {problem}"


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field) is True:
            yield f"{field} shares the node with the pod: take it out"
    for volume in listed(spec.get("volumes")):
        kinds = [kind for kind in volume if kind != "name"] if isinstance(volume, Mapping) else []
        for kind in kinds:
            if kind not in VOLUMES:
                yield f"volume {volume.get('name')} is a {kind}: use a claim, a secret or an emptyDir"
    if spec.get("automountServiceAccountToken") not in (False, UNKNOWN):
        yield "gets a token of the cluster that it does not need: automountServiceAccountToken: false"
    if at(spec, "securityContext.sysctls"):
        yield "sets sysctls of the kernel: take them out"


def _of_container(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext") or {}
    both = {**pod, **own} if isinstance(own, Mapping) and isinstance(pod, Mapping) else {}
    if both.get("runAsNonRoot") not in (True, UNKNOWN) or both.get("runAsUser") == 0:
        yield "may run as root: runAsNonRoot: true, and another runAsUser than 0"
    if at(both, "seccompProfile.type") not in (*SECCOMP, UNKNOWN):
        yield "has all system calls: seccompProfile: {type: RuntimeDefault}"
    if own.get("privileged") is True:
        yield "is privileged: take that out"
    if own.get("allowPrivilegeEscalation") not in (False, UNKNOWN):
        yield "may gain privileges: allowPrivilegeEscalation: false"
    if own.get("readOnlyRootFilesystem") not in (True, UNKNOWN):
        yield "writes to its own image: readOnlyRootFilesystem: true, and an emptyDir for what it must write"
    if at(own, "procMount") not in (None, "Default", UNKNOWN):
        yield "unmasks /proc: take procMount out"
    if "ALL" not in listed(at(own, "capabilities.drop")):
        yield "keeps capabilities: capabilities: {drop: [ALL]}"
    added = [each for each in listed(at(own, "capabilities.add")) if each != "NET_BIND_SERVICE"]
    if added:
        yield f"adds capabilities {', '.join(added)}: take them out"
    if any(isinstance(port, Mapping) and port.get("hostPort") for port in listed(container.get("ports"))):
        yield "takes a port of the node: take hostPort out"
    for bound in ("requests", "limits"):
        given = at(container, f"resources.{bound}")
        missing = [what for what in ("cpu", "memory") if at(given, what) in (None, "")]
        if missing:
            yield f"has no {bound} of {' and '.join(missing)}: say how much it takes"


RULE = Rule(
    "restricted-pods",
    "Pods are restricted as Kubernetes' Pod Security Standards say, on a read-only root, without a token, with bounds.",
    _restricted,
)
