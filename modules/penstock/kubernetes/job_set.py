"""A job of the platform as a JobSet: a pure function.

The success role ends it. A worker that fails is started again in its place; when a parameter server or the chief fails,
all roles start again and the chief goes on from the last checkpoint. A pod that was evicted, or whose node went away,
has not failed: it is replaced in the same way, and no restart is counted.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock import cluster_spec
from penstock.kubernetes.pods import Machine, PodSpec, labels, pod, selector
from penstock.platform import Job, Program, Role

PORT = 2222
"""Where the replicas of a training cluster reach each other."""
RESULT = "/dev/termination-log"
"""The result becomes the last words of the container: part of the pod's status, to be read without any permission."""
INPUT_AT_FAULT = 2
"""The trainer's exit code for input that is wrong: no retry would help."""
TAKEN_AWAY = "DisruptionTarget"
"""The condition of a pod that has not failed: it was evicted, or its node went away."""
EXCLUSIVE = "alpha.jobset.sigs.k8s.io/exclusive-topology"
"""Annotation of a JobSet of which each Job takes one value of a node label for itself, one pod after the other."""
WHOLE = "kueue.x-k8s.io/podset-required-topology"
"""Annotation of pods that a queue lets go only when all of them have room on free nodes of one value of a label."""
GRACE_SECONDS = 25
"""From SIGTERM to SIGKILL, which the trainer is told of: as much as GKE gives a Spot machine's pods."""
DIGITS = 8
LONGEST_NAME = 63
"""Of a DNS label, which every pod's host name is."""
ALONE = ("worker", "trial", "evaluator")
"""Roles whose replicas are started again one by one; the others hold state, and all start again together, as do workers
without parameter servers, which are in lockstep."""


@dataclass(frozen=True)
class JobSetArgs:
    """What a JobSet takes beside the job itself."""

    stack: str
    images: Mapping[Program, str]
    claim: str
    machines: Mapping[str, Machine]
    """By role."""
    data_claim: str = ""
    problem: str = ""
    keys: str = ""
    """Name of the Secret with the keys that the job names."""
    queue: str = ""
    """Name of a Kueue LocalQueue; empty: the job starts at once."""
    exclusive_topology: str = ""
    """Node label of which each Job of the set takes one value for itself, such as a TPU slice's node pool; with a queue
    each role with accelerators, and whole or not at all."""
    environment: Sequence[Mapping[str, Any]] = ()
    """Of all its pods, besides what each role has."""


def job_set(
    name: str, job: Job, commands: Mapping[str, Sequence[str]], digests: Mapping[str, str], args: JobSetArgs
) -> dict[str, Any]:
    """The JobSet's manifest; its name ends in a digest of it, so the same job is found again."""
    roles = {role: details for role, details in sorted(job.roles.items()) if details.replicas > 0}
    content = json.dumps([_Set(name, name, job, roles, commands, args).spec(), dict(digests)], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:DIGITS]
    longest = max(len(f"-{role}-0-{details.replicas - 1}") for role, details in roles.items())
    own = f"{name[: LONGEST_NAME - longest - DIGITS - 1].rstrip('-')}-{digest}"
    queue = {"kueue.x-k8s.io/queue-name": args.queue} if args.queue else {}
    alone = {EXCLUSIVE: args.exclusive_topology} if args.exclusive_topology and not args.queue else {}
    annotations = {"annotations": alone} if alone else {}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": own, "labels": {**labels(args.stack, name, "job"), **queue}, **annotations},
        "spec": _Set(own, name, job, roles, commands, args).spec(),
    }


@dataclass(frozen=True)
class _Set:
    """A JobSet named `own` of the workload `name`."""

    own: str
    name: str
    job: Job
    roles: Mapping[str, Role]
    commands: Mapping[str, Sequence[str]]
    args: JobSetArgs

    def spec(self) -> dict[str, Any]:
        alone = [role for role in self.roles if self._is_alone(role)]
        # The rule of a role's own pods has decided: one that others need was taken away, or another attempt would end
        # the same way.
        decided = {"onJobFailureReasons": ["PodFailurePolicy"]}
        moved = {"onJobFailureMessagePatterns": [f"has condition {TAKEN_AWAY}"], **decided}
        rules: list[dict[str, Any]] = [
            {"name": "moved", "action": "RestartJobSetAndIgnoreMaxRestarts", **moved},
            {"name": "input", "action": "FailJobSet", **decided},
        ]
        if alone:
            rules.append({"name": "spent", "action": "FailJobSet", "targetReplicatedJobs": alone})
        return {
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "successPolicy": {"operator": "All", "targetReplicatedJobs": [self.job.success_role]},
            "failurePolicy": {
                "maxRestarts": max(
                    self.job.restarts,
                    *(details.restarts for role, details in self.roles.items() if not self._is_alone(role)),
                ),
                "rules": rules,
            },
            "replicatedJobs": [self._replicated(role, details) for role, details in self.roles.items()],
        }

    def _is_alone(self, role: str) -> bool:
        return role in ALONE and (role != "worker" or "ps" in self.roles)

    def _replicated(self, role: str, details: Role) -> dict[str, Any]:
        alone = {"backoffLimitPerIndex": details.restarts, "maxFailedIndexes": 0}
        sliced = self.args.queue and self.args.exclusive_topology and self._machine(role).accelerators
        whole = {"annotations": {WHOLE: self.args.exclusive_topology}} if sliced else {}
        template = {
            **pod(self._pod(role, details)),
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE_SECONDS,
        }
        spec = {
            "completionMode": "Indexed",
            "completions": details.replicas,
            "parallelism": details.replicas,
            **(alone if self._is_alone(role) else {"backoffLimit": 0}),
            "podFailurePolicy": {"rules": _failure_rules(self.job.program.value, self._is_alone(role))},
            "template": {"metadata": {"labels": labels(self.args.stack, self.name, role), **whole}, "spec": template},
        }
        return {"name": role, "replicas": 1, "template": {"spec": spec}}

    def _machine(self, role: str) -> Machine:
        return self.args.machines.get(role, Machine())

    def _pod(self, role: str, details: Role) -> PodSpec:
        replicas = {each: other.replicas for each, other in self.roles.items()}
        in_cluster = any(each == role for each, _ in cluster_spec.members(replicas))
        return PodSpec(
            program=self.job.program,
            image=self.args.images[self.job.program],
            arguments=self.commands[role],
            resources=details.resources,
            machine=self._machine(role),
            environment=[
                *_environment(self.own, role, replicas, details, decides=role == self.job.success_role),
                *self.args.environment,
            ],
            claim=self.args.claim,
            data_claim=self.args.data_claim,
            problem=self.args.problem,
            keys=self.args.keys,
            ports={"tensorflow": PORT} if in_cluster else {},
        )


def _failure_rules(container: str, alone: bool) -> list[dict[str, Any]]:
    at_fault = {"containerName": container, "operator": "In", "values": [INPUT_AT_FAULT]}
    return [
        # Those who wait for one whose machine is gone are told by nobody, and would wait for ever.
        {"action": "Ignore" if alone else "FailJob", "onPodConditions": [{"type": TAKEN_AWAY, "status": "True"}]},
        {"action": "FailJob", "onExitCodes": at_fault},
    ]


def _environment(
    own: str, role: str, replicas: Mapping[str, int], details: Role, decides: bool
) -> list[dict[str, Any]]:
    index = {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}}
    found: list[dict[str, Any]] = [
        {"name": "PENSTOCK_ROLE", "value": role},
        {"name": "PENSTOCK_INDEX", "valueFrom": index},
        {"name": "PENSTOCK_GRACE_SECONDS", "value": str(GRACE_SECONDS)},
    ]
    config = cluster_spec.tf_config(replicas, lambda each, at: f"{own}-{each}-0-{at}.{own}:{PORT}", role, 0)
    if config is not None:
        # All replicas of a role share one template, so the kubelet fills in the index.
        parsed = json.loads(config)
        parsed["task"]["index"] = "?"
        found.append({"name": "TF_CONFIG", "value": json.dumps(parsed).replace('"?"', "$(PENSTOCK_INDEX)")})
    if decides:
        found.append({"name": "PENSTOCK_RESULT", "value": RESULT})
    return [*found, *({"name": key, "value": value} for key, value in sorted(details.environment.items()))]


def disruption_budget(name: str, replicas: int, args: JobSetArgs) -> dict[str, Any]:
    """One pod of a job may be moved away at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "labels": labels(args.stack, name, "budget")},
        # A Job has no scale of its own, so a share or a maximum would be refused.
        "spec": {"minAvailable": max(0, replicas - 1), "selector": {"matchLabels": selector(args.stack, name)}},
    }


def beside(name: str, job: Job, args: JobSetArgs) -> dict[str, dict[str, Any]]:
    """What must be there before the set's pods run, by what it is for."""
    replicas = sum(role.replicas for role in job.roles.values())
    budget = {"budget": disruption_budget(name, replicas, args)} if replicas > 1 else {}
    return {"policy": edges(name, args), **budget}


def edges(name: str, args: JobSetArgs) -> dict[str, Any]:
    """The replicas of a training cluster reach each other, on their one port, and nobody else does."""
    own = {"matchLabels": selector(args.stack, name)}
    ports = [{"protocol": "TCP", "port": PORT}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": labels(args.stack, name, "policy")},
        "spec": {
            "podSelector": own,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": own}], "ports": ports}],
            "egress": [{"to": [{"podSelector": own}], "ports": ports}],
        },
    }
