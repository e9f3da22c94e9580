"""When the pods of a workload are ready: a dynamic resource that waits, and tells why they are not.

pulumi-kubernetes can wait for them too, but of a pod that runs and is not ready it says no more than that.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from penstock.errors import ServiceFailed, StageInterrupted
from penstock.kubernetes import manifest
from penstock.kubernetes.api import Api, Object, Unreachable
from penstock.kubernetes.cluster_args import ClusterArgs
from penstock.kubernetes.serving import START_SECONDS
from penstock.kubernetes.verdict import LINES, UNSTARTABLE, is_ready, last_lines, states, stays, unmet, warnings
from penstock.local import engine
from penstock.local import urn as resource_urn

KNATIVE = "Knative Service"
WORKLOADS: Mapping[str, str] = {
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
    "StatefulSet": "/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}",
    KNATIVE: "/apis/serving.knative.dev/v1/namespaces/{namespace}/services/{name}",
}
SEEN: Mapping[str, str] = {"pulumi.com/waitFor": "jsonpath={.status.observedGeneration}"}
"""Annotations by which the plugin waits for the controller alone: for the pods it is waited here."""
POLL_SECONDS = 1.0
WATCHED = ("kind", "namespace", "workload", "uid", "asked")


class ReadinessProvider(engine.Provider):
    """Waits for pods; pickled by reference, so it keeps no attributes of its own."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """A workload that has changed has other pods; how the cluster is reached does not matter."""
        return DiffResult(changes=any(_olds.get(key) != _news.get(key) for key in WATCHED))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Waits."""
        _wait(props)
        return CreateResult(props["name"], props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Waits for the new ones."""
        _wait(_news)
        return UpdateResult(_news)


class Readiness(Resource, module="penstock", name="Readiness"):
    """A workload whose pods are ready."""

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        urn = resource_urn.of(name, "pulumi-python:dynamic/penstock:Readiness", opts)
        super().__init__(ReadinessProvider(), name, {"name": name, "urn": urn, **props}, opts)


def patience(args: ClusterArgs) -> int:
    """For so many seconds pods are waited for at most."""
    return round(min(60 * args.timeout_minutes, 2 * START_SECONDS))


def ready(
    name: str,
    kind: str,
    made: Any,
    spec: pulumi.Input[Mapping[str, Any]],
    args: ClusterArgs,
    timeout_seconds: int,
    opts: pulumi.ResourceOptions,
) -> Readiness:
    """There when the pods of the workload `made` are ready, as its `spec` asks for them."""
    reached = {"kubeconfig": args.kubeconfig, "context": args.context or "", "start_seconds": 60 * args.start_minutes}
    return waited(name, kind, made, spec, reached, timeout_seconds, opts)


def waited(
    name: str,
    kind: str,
    made: Any,
    spec: pulumi.Input[Mapping[str, Any]],
    reached: Mapping[str, Any],
    timeout_seconds: int,
    opts: pulumi.ResourceOptions,
) -> Readiness:
    """The same on a cluster `reached` by a `kubeconfig` in a `context`, for pods that may be unable to start for
    `start_seconds`.
    """
    known = {
        **reached,
        "kind": kind,
        "timeout_seconds": timeout_seconds,
        "namespace": manifest.metadata_of(made, "namespace"),
        "workload": manifest.metadata_of(made, "name"),
        "uid": manifest.metadata_of(made, "uid"),
        # What scales it changes the object, and not what was asked for.
        "asked": pulumi.Output.from_input(spec).apply(_digest),
    }
    return Readiness(f"{name}-ready", known, opts)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _wait(props: dict[str, Any]) -> None:
    api = Api(props["kubeconfig"], props["context"])
    path = WORKLOADS[props["kind"]].format(namespace=props["namespace"], name=props["workload"])
    relay, begin = engine.Relay(props["urn"]), time.monotonic()
    startable, said = begin, "nothing is known of it"
    seconds = float(props["timeout_seconds"])
    while True:
        try:
            said, hopeless = _look(api, props, path)
            if not said:
                return
            startable = startable if hopeless else time.monotonic()
            relay.progress(said.splitlines()[0])
        except Unreachable as exc:
            # An API server may be restarted; the pods start without it.
            said = str(exc)
        workload = f"{props['kind']} {props['workload']}"
        if engine.is_cancelled():
            raise StageInterrupted(f"{workload} is not ready yet; the cluster goes on with it, and `up` waits for it")
        if time.monotonic() - startable > float(props["start_seconds"]):
            raise ServiceFailed(f"{workload} cannot start: {said}")
        if time.monotonic() - begin > seconds:
            raise ServiceFailed(f"{workload} was not ready after {seconds:.0f} seconds: {said}")
        time.sleep(POLL_SECONDS)


def _look(api: Api, props: Mapping[str, Any], path: str) -> tuple[str, bool]:
    """What is waited for, empty where all are ready, and whether waiting longer does not help."""
    live = api.get(path)
    if live is None:
        raise ServiceFailed(f"the {props['kind']} {props['workload']} is gone; `pulumi refresh` and `up` make it again")
    done, said, chosen = (_revision if props["kind"] == KNATIVE else _replicas)(live)
    if done and live["status"].get("observedGeneration", 0) >= live["metadata"]["generation"]:
        return "", False
    pods = api.items(f"/api/v1/namespaces/{props['namespace']}/pods", {"labelSelector": chosen})
    lasting = [pod for pod in pods if stays(pod)]
    late = [pod for pod in lasting if not is_ready(pod)]
    said = [f"pods: {len(lasting) - len(late)} ready, {len(late)} not ready", *said]
    said += warnings(api, props["namespace"], props["workload"])
    for pod in late[:1]:
        said += _why(api, pod)
    hopeless = any(waits.get("reason") in UNSTARTABLE for pod in late for waits in states(pod, "waiting"))
    return "\n".join(dict.fromkeys(said)), hopeless


def _replicas(live: Object) -> tuple[bool, list[str], str]:
    """Whether they are ready, what is said of them, and the selector of their pods."""
    status, wanted = live.get("status", {}), live["spec"].get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    conditions = status.get("conditions", [])
    said = [each["message"] for each in conditions if each["type"] == "ReplicaFailure" and each["status"] == "True"]
    chosen = ",".join(f"{key}={value}" for key, value in live["spec"]["selector"]["matchLabels"].items())
    return min(updated, available) >= wanted and status.get("replicas", 0) <= updated, said, chosen


def _revision(live: Object) -> tuple[bool, list[str], str]:
    """The same of a Knative Service, which is ready when its latest revision is and the requests go there."""
    status = live.get("status", {})
    latest, answering = status.get("latestCreatedRevisionName"), status.get("latestReadyRevisionName")
    said = [f"revision {latest} is not ready" if latest != answering else f"revision {latest} is not led to yet"]
    ready = latest == answering and is_ready(live)
    return ready, [*said, *unmet(live)], f"serving.knative.dev/revision={latest}"


def _why(api: Api, pod: Object) -> list[str]:
    """What keeps a pod from being ready, and its last words."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    said = [
        f"pod {name} has no node: {each.get('message', each.get('reason'))}"
        for each in pod["status"].get("conditions", [])
        if each["type"] == "PodScheduled" and each["status"] == "False"
    ]
    said += [f"pod {name} waits: {each.get('reason')}: {each.get('message', '')}" for each in states(pod, "waiting")]
    ended = [*states(pod, "terminated"), *states(pod, "terminated", "lastState")]
    said += [
        f"pod {name} ended with exit code {each['exitCode']} ({each.get('reason')})"
        for each in ended
        if each["exitCode"] != 0
    ]
    runs = states(pod, "running")
    said += [f"pod {name} runs and is not ready"] if runs else []
    said += warnings(api, namespace, name)
    return [*said, *(last_lines(api, pod) if runs else _last_words(ended))]


def _last_words(ended: list[Object]) -> list[str]:
    return [line for each in ended for line in str(each.get("message") or "").splitlines()[-LINES:]]
