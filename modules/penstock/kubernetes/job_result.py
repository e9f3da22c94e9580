"""The end of a job in the cluster: a dynamic resource that waits for a JobSet and reads what its chief left.

pulumi-kubernetes can wait for a JobSet to complete, but not notice that it has failed, nor say why.
"""

import time
from collections.abc import Mapping
from typing import Any, NoReturn

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from penstock.errors import StageFailed, StageInterrupted
from penstock.kubernetes import verdict
from penstock.kubernetes.api import MERGE, Api, ApiError, Object, Unreachable
from penstock.local import engine
from penstock.local import urn as resource_urn

JOB_SETS = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/{namespace}/jobsets"
TOLD = "penstock.dev/failure-told"
"""Set on a JobSet whose failure a person has been told: the next `up` starts it again."""
POLL_SECONDS = 1.0
AWAY_SECONDS = 300.0
"""For so long the API server may be away."""
REMOVED = "the JobSet that failed before is being removed"
FOREGROUND = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
WATCHED = ("namespace", "job_set", "uid")
OUTPUTS = ("path", "digest", "counts", "metrics")


class JobResultProvider(engine.Provider):
    """Waits for a JobSet; pickled by reference, so it keeps no attributes of its own."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another JobSet has another result; how the cluster is reached does not matter."""
        return DiffResult(changes=any(_olds.get(key) != _news.get(key) for key in WATCHED))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Waits."""
        return CreateResult(props["name"], _result(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Waits for another one."""
        return UpdateResult(_result(_news))


class JobResult(Resource, module="penstock", name="JobResult"):
    """The artifact that a JobSet left."""

    path: pulumi.Output[str]
    """Folder of the sealed artifact, in the pods."""
    digest: pulumi.Output[str]
    """Digest of the artifact's manifest."""
    counts: pulumi.Output[dict[str, Any]]
    """What the stage counted, by name."""
    metrics: pulumi.Output[dict[str, Any]]
    """What the stage measured, by name."""

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        urn = resource_urn.of(name, "pulumi-python:dynamic/penstock:JobResult", opts)
        super().__init__(JobResultProvider(), name, {"name": name, "urn": urn, **props, **dict.fromkeys(OUTPUTS)}, opts)


def _result(props: dict[str, Any]) -> dict[str, Any]:
    waiting = _Waiting(props)
    begin = answered = time.monotonic()
    said = "nothing is known of it"
    while True:
        outcome = None
        try:
            outcome, said = waiting.look()
            answered = time.monotonic()
        except Unreachable as exc:
            # An API server may be restarted; the job goes on without it.
            if time.monotonic() - answered > AWAY_SECONDS:
                raise StageFailed(f"{props['name']}: {exc}") from exc
        except ApiError as exc:
            raise StageFailed(
                f"{props['name']}: {exc}; the job goes on in the cluster as {props['job_set']}, and `up` with it"
            ) from exc
        if outcome is not None:
            return {**props, **outcome}
        if engine.is_cancelled():
            raise StageInterrupted(
                f"{props['name']} is still running in the cluster as {props['job_set']}; `up` goes on with it"
            )
        seconds = float(props["timeout_seconds"])
        if time.monotonic() - begin > seconds:
            told = "\n".join([said, *waiting.last_lines()])
            raise StageFailed(f"{props['name']} was not done after {seconds:.0f} seconds: {told}")
        time.sleep(POLL_SECONDS)


class _Waiting:
    """What is remembered between one look at a JobSet and the next."""

    def __init__(self, props: Mapping[str, Any]) -> None:
        self._props = props
        self._api = Api(props["kubeconfig"], props["context"])
        self._path = f"{JOB_SETS.format(namespace=props['namespace'])}/{props['job_set']}"
        self._relay = engine.Relay(props["urn"])
        self._startable = time.monotonic()
        self._pods: list[Object] = []
        self._found = False

    def look(self) -> tuple[dict[str, Any] | None, str]:
        """The outcome, if there is one, and what is being waited for; a job that failed is a StageFailed."""
        props, api, namespace = self._props, self._api, self._props["namespace"]
        live = api.get(self._path)
        if not self._found:
            if not self._is_fresh(live):
                self._relay.progress(REMOVED)
                return None, REMOVED
            self._found = True
            live = live or api.get(self._path)
        if live is None:
            raise StageFailed(f"{props['name']}: the JobSet {props['job_set']} is gone; the next `up` makes it again")
        self._pods = pods = verdict.pods(api, namespace, props["job_set"])
        state = live.get("status", {}).get("terminalState")
        if state == "Completed":
            return self._left(pods), ""
        if state == "Failed":
            self._give_up(f"failed: {verdict.failure(api, namespace, live, pods)}")
        hopeless = verdict.hopeless(pods)
        if not hopeless:
            self._startable = time.monotonic()
        elif time.monotonic() - self._startable > float(props["start_seconds"]):
            self._give_up(f"failed: {hopeless}")
        said = verdict.waiting(api, namespace, live, pods)
        self._relay.progress(said)
        return None, said

    def last_lines(self) -> list[str]:
        """What the pod whose success is the job's wrote last, where it runs."""
        return verdict.role_lines(self._api, self._pods, self._props["success_role"])

    def _is_fresh(self, live: Object | None) -> bool:
        """Whether the JobSet is one whose failure nobody was told, made anew where it is not there.

        Posted is what was asked for, not what the cluster made of the one before: a queue writes into it where it was
        admitted.
        """
        if live is None:
            self._api.request("POST", self._path.rpartition("/")[0], body=self._props["manifest"])
            return True
        if live["metadata"].get("annotations", {}).get(TOLD) != "true":
            return True
        if "deletionTimestamp" not in live["metadata"]:
            self._api.request("DELETE", self._path, body=FOREGROUND)
        return False

    def _left(self, pods: list[Object]) -> dict[str, Any]:
        role = self._props["success_role"]
        result = verdict.result(pods, role)
        if result is None:
            self._give_up(
                f"completed, but its {role} left no result: its pod is gone, or its program wrote none to "
                "PENSTOCK_RESULT; the next `up` runs it again, and what it sealed is found"
            )
        return {key: result[key] for key in OUTPUTS}

    def _give_up(self, why: str) -> NoReturn:
        told = {"metadata": {"annotations": {TOLD: "true"}}}
        self._api.request("PATCH", self._path, body=told, content_type=MERGE)
        raise StageFailed(f"{self._props['name']} {why}")
