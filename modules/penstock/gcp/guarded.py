"""What a budget's stages do to trials, jobs and the endpoint, by the documented requests of each service.

What was there before is written on the thing itself, so what is done already is not done again, and what somebody else
has stopped stays so.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.gcp.google import Google
from penstock.gcp.storage_api import Storage

RUN, CLUSTER, DATAFLOW = "PENSTOCK_RUN_ENDPOINT", "PENSTOCK_CLUSTER_ENDPOINT", "PENSTOCK_DATAFLOW_ENDPOINT"
"""Environment variables that name other endpoints than Google's, which take no sign-in."""
NO_NEW_TRIALS = "control/no-new-trials"
"""The object of the artifact store that the trainer looks for before each trial."""
MARK = "penstock.dev/budget"
"""Annotation: the guard has changed this, and what it was before."""
MERGE = "application/merge-patch+json"
JOB_SETS = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/{}/jobsets"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
AUTOSCALERS = "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers"
SERVERS = "penstock.dev/role=server"


@dataclass(frozen=True)
class Guarded:
    """What the guard acts on; what is empty is not there."""

    stages: Mapping[str, float]
    """Share of the budget by stage; a stage that is not named is never reached."""
    records: str
    """The guard's own bucket."""
    store: str = ""
    """The bucket of the artifacts."""
    service: str = ""
    """The endpoint on Cloud Run: `projects/P/locations/L/services/S`."""
    floor: int = 1
    """Replicas of the endpoint that are left to it."""
    cluster: str = ""
    """Name of the control plane."""
    namespace: str = ""
    """Of its jobs and of an endpoint on it."""
    dataflow: str = ""
    """Where Beam's jobs run: `projects/P/locations/L`."""
    environment: str = ""
    """The label `environment` of those jobs."""


def restrained(guarded: Guarded, storage: Storage, stages: Collection[str]) -> Iterator[str]:
    """Brings about what the stages say, and takes back what they do not; what was changed, in words."""
    yield from _trials(guarded, storage, "stop_trials" in stages)
    yield from _machines(guarded, "scale_to_zero" in stages)


def _trials(guarded: Guarded, storage: Storage, stopped: bool) -> Iterator[str]:
    if not guarded.store:
        return
    there = storage.json(guarded.store, NO_NEW_TRIALS) is not None
    if stopped and not there:
        storage.write(guarded.store, NO_NEW_TRIALS, {"because": "the budget's stage stop_trials is reached"})
        yield "no new trials"
    elif there and not stopped:
        storage.delete(guarded.store, NO_NEW_TRIALS)
        yield "trials may begin again"


def _machines(guarded: Guarded, stopped: bool) -> Iterator[str]:
    if guarded.cluster:
        cluster = Google(f"https://{guarded.cluster}", CLUSTER)
        yield from _jobs(cluster, guarded.namespace, stopped)
        yield from _deployments(cluster, guarded, stopped)
    if guarded.dataflow and stopped:
        yield from _beam(guarded)
    if guarded.service:
        yield from _cloud_run(guarded, stopped)


def _jobs(cluster: Google, namespace: str, stopped: bool) -> Iterator[str]:
    """A suspended JobSet's pods get SIGTERM and time for a checkpoint; resumed, it goes on from there."""
    path = JOB_SETS.format(namespace)
    for job in cluster.request("GET", path, {}).json()["items"]:
        name, spec = job["metadata"]["name"], job.get("spec", {})
        if job.get("status", {}).get("terminalState"):
            continue
        if stopped and not spec.get("suspend"):
            _patch(cluster, f"{path}/{name}", {"spec": {"suspend": True}}, "suspended")
            yield f"job {name} is suspended"
        elif not stopped and _mark(job):
            _patch(cluster, f"{path}/{name}", {"spec": {"suspend": False}}, None)
            yield f"job {name} goes on"


def _deployments(cluster: Google, guarded: Guarded, stopped: bool) -> Iterator[str]:
    """An autoscaler rests while its Deployment has no replica, so none is left to it by the Deployment itself."""
    held: set[str] = set()
    path = AUTOSCALERS.format(guarded.namespace)
    for each in cluster.request("GET", path, {}).json()["items"]:
        if not stopped or guarded.floor > 0:
            limits = {"minReplicas": each["spec"].get("minReplicas", 1), "maxReplicas": each["spec"]["maxReplicas"]}
            wanted = {limit: min(count, guarded.floor) for limit, count in limits.items()}
            yield from _scaled(cluster, path, each, limits, wanted, stopped)
            held |= {each["spec"]["scaleTargetRef"]["name"]} if stopped else set()
    path = DEPLOYMENTS.format(guarded.namespace)
    for each in cluster.request("GET", path, {"labelSelector": SERVERS}).json()["items"]:
        if each["metadata"]["name"] not in held:
            replicas = {"replicas": each["spec"].get("replicas", 1)}
            wanted = {"replicas": min(replicas["replicas"], guarded.floor)}
            yield from _scaled(cluster, path, each, replicas, wanted, stopped)


def _scaled(
    cluster: Google, path: str, each: Any, now: dict[str, int], wanted: dict[str, int], stopped: bool
) -> Iterator[str]:
    name, mark = each["metadata"]["name"], _mark(each)
    if stopped and now != wanted:
        _patch(cluster, f"{path}/{name}", {"spec": wanted}, mark or json.dumps(now))
        yield f"endpoint {name}: {_counts(wanted)}"
    elif not stopped and mark:
        _patch(cluster, f"{path}/{name}", {"spec": json.loads(mark)}, None)
        yield f"endpoint {name}: {_counts(json.loads(mark))} again"


def _patch(cluster: Google, path: str, change: dict[str, Any], mark: str | None) -> None:
    cluster.request("PATCH", path, {}, body={"metadata": {"annotations": {MARK: mark}}, **change}, form=MERGE)


def _mark(thing: Mapping[str, Any]) -> str:
    return thing["metadata"].get("annotations", {}).get(MARK, "")


def _beam(guarded: Guarded) -> Iterator[str]:
    """A batch job on Dataflow knows no pause; its stage has sealed nothing, and begins anew."""
    dataflow = Google("https://dataflow.googleapis.com", DATAFLOW)
    path = f"/v1b3/{guarded.dataflow}/jobs"
    for job in dataflow.items(path, {"filter": "ACTIVE"}, "jobs"):
        labels = job.get("labels", {})
        ending = "CANCEL" in job.get("requestedState", "") + job.get("currentState", "")
        if labels.get("environment") == guarded.environment and not ending:
            dataflow.request("PUT", f"{path}/{job['id']}", {}, body={"requestedState": "JOB_STATE_CANCELLED"})
            yield f"Dataflow job {job['name']} is cancelled"


def _cloud_run(guarded: Guarded, stopped: bool) -> Iterator[str]:
    run = Google("https://run.googleapis.com", RUN)
    path = f"/v2/{guarded.service}"
    service = run.request("GET", path, {}, absent=True)
    if service is None:
        return
    found = service.json()
    now: dict[str, Any] = found.get("scaling", {})
    annotations: dict[str, str] = found.get("annotations", {})
    wanted = _scaling(now, guarded.floor)
    if stopped and now != wanted:
        # A message that comes again must not take the floor for what was there before.
        _rescale(run, path, found, {**annotations, MARK: annotations.get(MARK) or json.dumps(now)}, wanted)
        yield f"endpoint {guarded.service.rpartition('/')[2]}: {_counts(wanted)}"
    elif not stopped and MARK in annotations:
        former = json.loads(annotations.pop(MARK))
        _rescale(run, path, found, annotations, former)
        yield f"endpoint {guarded.service.rpartition('/')[2]}: {_counts(former)} again"


def _scaling(now: Mapping[str, Any], floor: int) -> dict[str, Any]:
    """The floor is a ceiling now. Cloud Run turns a service off by zero replicas in manual mode."""
    if floor == 0:
        return {"scalingMode": "MANUAL", "manualInstanceCount": 0}
    lowest = min(int(now.get("minInstanceCount", 0)), floor)
    return {**({"minInstanceCount": lowest} if lowest else {}), "maxInstanceCount": floor, "scalingMode": "AUTOMATIC"}


def _rescale(run: Google, path: str, found: Any, annotations: dict[str, str], scaling: dict[str, Any]) -> None:
    body = {"annotations": annotations, "scaling": scaling, "etag": found.get("etag", "")}
    run.request("PATCH", path, {"updateMask": "annotations,scaling"}, body=body)


def _counts(scaling: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(scaling.items())) or "as it was"
