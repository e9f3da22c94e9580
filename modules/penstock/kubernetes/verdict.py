"""What a job's pods and the cluster's events say about how the job goes, in words."""

import json
from datetime import datetime, timezone
from typing import Any

from penstock.kubernetes.api import Api, ClusterError, Object

JOB_SET = "jobset.sigs.k8s.io/jobset-name"
ROLE = "jobset.sigs.k8s.io/replicatedjob-name"
INDEX = "batch.kubernetes.io/job-completion-index"
UNSTARTABLE = (
    *("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "InvalidImageName", "ErrImageNeverPull"),
    "CreateContainerConfigError",
)
"""Reasons of a container that waits, for which waiting longer does not help."""
OVERDUE_SECONDS = 60.0
"""After the time at which a pod was to be gone."""
STARTING = ("ContainerCreating", "PodInitializing")
"""Reasons that say nothing."""
LINES = 6
EVENTS = 2
"""Of each pod, the latest warnings."""


def pods(api: Api, namespace: str, job_set: str) -> list[Object]:
    """The pods of a JobSet."""
    return api.items(f"/api/v1/namespaces/{namespace}/pods", {"labelSelector": f"{JOB_SET}={job_set}"})


def result(found: list[Object], role: str) -> dict[str, Any] | None:
    """What the role's first replica left as its last words."""
    for pod in found:
        labels = pod["metadata"]["labels"]
        if labels.get(ROLE) == role and labels.get(INDEX) == "0" and pod["status"].get("phase") == "Succeeded":
            try:
                return json.loads(_ended(pod).get("message", ""))
            except ValueError:
                return None
    return None


def hopeless(found: list[Object]) -> str:
    """Why a pod can never start; empty where none is in that state."""
    for pod in found:
        for container in pod["status"].get("containerStatuses", []):
            waits = container["state"].get("waiting", {})
            if waits.get("reason") in UNSTARTABLE:
                return f"{_who(pod)} cannot start: {waits['reason']}: {waits.get('message', container['image'])}"
    return ""


def failure(api: Api, namespace: str, job_set: Object, found: list[Object]) -> str:
    """Which role failed, how, and what it said last."""
    name = job_set["metadata"]["name"]
    said = [line for pod in found if (line := _last_words(pod))]
    conditions = job_set.get("status", {}).get("conditions", [])
    said += [each["message"] for each in conditions if each["type"] == "Failed" and each["status"] == "True"]
    said += _warnings(api, namespace, name)
    return "\n".join(dict.fromkeys(said)) or f"the JobSet {name} failed and nothing says why"


def waiting(api: Api, namespace: str, job_set: Object, found: list[Object]) -> str:
    """What runs, and what it is that the others wait for."""
    phases: dict[str, int] = {}
    for pod in found:
        phases[pod["status"].get("phase", "Pending")] = phases.get(pod["status"].get("phase", "Pending"), 0) + 1
    counted = ", ".join(f"{count} {phase.lower()}" for phase, count in sorted(phases.items())) or "none"
    said = [f"pods: {counted}"]
    if restarts := job_set.get("status", {}).get("restarts"):
        said.append(f"started again {restarts} times")
    said += _overdue(found)
    if job_set["spec"].get("suspend"):
        said.append(f"held by its queue{_held(api, namespace, job_set)}")
    else:
        said += _unscheduled(found)
        said += _unstarted(api, found)
        wanted = sum(each["template"]["spec"]["completions"] for each in job_set["spec"]["replicatedJobs"])
        if len(found) < wanted:
            said += _warnings(api, namespace, job_set["metadata"]["name"])[:2]
    return "; ".join(said)


def is_ready(pod: Object) -> bool:
    """Whether a pod, or a Knative Service, answers."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def stays(pod: Object) -> bool:
    """Whether a pod is not being deleted."""
    return "deletionTimestamp" not in pod["metadata"]


def unmet(live: Object) -> list[str]:
    """What those conditions of a Knative Service say that are not met."""
    conditions = live.get("status", {}).get("conditions", [])
    return list(
        dict.fromkeys(each["message"] for each in conditions if each["status"] != "True" and each.get("message"))
    )


def latest(events: list[Object]) -> list[str]:
    """What events say, each once, the latest first."""
    ordered = sorted(
        events, key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or ""), reverse=True
    )
    return list(dict.fromkeys(f"{each['reason']}: {each['message']}" for each in ordered))


def states(pod: Object, which: str, when: str = "state") -> list[Object]:
    """Those of a pod's containers that are in a state, `waiting`, `running` or `terminated`, now or `lastState`."""
    status = pod["status"]
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return [each[when][which] for each in containers if which in each.get(when, {})]


def warnings(api: Api, namespace: str, name: str) -> list[str]:
    """The latest warnings about an object."""
    query = {"fieldSelector": f"type=Warning,involvedObject.name={name}"}
    return latest(api.items(f"/api/v1/namespaces/{namespace}/events", query))[:EVENTS]


def last_lines(api: Api, pod: Object) -> list[str]:
    """The last lines of a pod's log; none where one may not read it, or nobody has it."""
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/log"
    # Its own program's: another may stand before it.
    query = {"tailLines": LINES, "container": pod["spec"]["containers"][0]["name"]}
    try:
        found = api.request("GET", path, query)
    except ClusterError:
        return []
    return str(found.get("text", found)).splitlines()


def role_lines(api: Api, found: list[Object], role: str) -> list[str]:
    """The last lines of a role's first replica that runs, and whose they are."""
    for pod in found:
        if pod["metadata"]["labels"].get(ROLE) == role and states(pod, "running"):
            lines = last_lines(api, pod)
            return [f"{_who(pod)} said last:", *lines] if lines else []
    return []


def _who(pod: Object) -> str:
    labels = pod["metadata"]["labels"]
    return f"{labels.get(ROLE)} {labels.get(INDEX)}"


def _ended(pod: Object) -> Object:
    for container in pod["status"].get("containerStatuses", []):
        if ended := container["state"].get("terminated"):
            return ended
    return {}


def _last_words(pod: Object) -> str:
    ended = _ended(pod)
    if pod["status"].get("phase") != "Failed" or not ended:
        return ""
    lines = str(ended.get("message") or "").splitlines()
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")][-1:] or lines[-LINES:]
    reason = f" ({ended['reason']})" if ended.get("reason") not in (None, "Error") else ""
    return "\n".join([f"{_who(pod)} ended with exit code {ended.get('exitCode')}{reason}", *told])


def _unscheduled(found: list[Object]) -> list[str]:
    said: list[str] = []
    for pod in found:
        for condition in pod["status"].get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                said.append(f"{_who(pod)} has no node: {condition.get('message', condition.get('reason'))}")
    return said[:1]


def _overdue(found: list[Object]) -> list[str]:
    """A pod that no kubelet ends, most often as its node is cut off: the job waits for it, and nobody else may know."""
    now = datetime.now(timezone.utc)
    for pod in found:
        due = pod["metadata"].get("deletionTimestamp")
        if due and (now - datetime.fromisoformat(due.replace("Z", "+00:00"))).total_seconds() > OVERDUE_SECONDS:
            node = pod["spec"].get("nodeName", "")
            return [f"{_who(pod)} was to leave node {node} at {due}: if that is lost, `kubectl delete node {node}`"]
    return []


def _unstarted(api: Api, found: list[Object]) -> list[str]:
    """What keeps the first pod that has a node, and has not started, from starting."""
    for pod in found:
        waits = states(pod, "waiting")
        if waits and pod["status"].get("phase") == "Pending":
            said = [
                f"{_who(pod)} waits: {each['reason']}: {each.get('message', '')}"
                for each in waits
                if each.get("reason") not in (None, *STARTING)
            ]
            return [*said, *warnings(api, pod["metadata"]["namespace"], pod["metadata"]["name"])]
    return []


def _held(api: Api, namespace: str, job_set: Object) -> str:
    """What Kueue says about the workload that stands for the JobSet."""
    path = f"/apis/kueue.x-k8s.io/v1beta1/namespaces/{namespace}/workloads"
    if api.get(path) is None:
        return ""
    for workload in api.items(path):
        owners = [each["uid"] for each in workload["metadata"].get("ownerReferences", [])]
        if job_set["metadata"]["uid"] in owners:
            for condition in workload.get("status", {}).get("conditions", []):
                if condition["type"] == "QuotaReserved" and condition["status"] == "False":
                    return f": {condition['message']}"
    return ""


def _warnings(api: Api, namespace: str, name: str) -> list[str]:
    """Warnings about the JobSet and all that carries its name, the latest first."""
    events = api.items(f"/api/v1/namespaces/{namespace}/events", {"fieldSelector": "type=Warning"})
    own = [each for each in events if str(each["involvedObject"].get("name", "")).startswith(name)]
    return latest(own)[:4]
