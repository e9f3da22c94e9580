"""When an object is ready, as pulumi-kubernetes has it: by its kind, or by the annotation `pulumi.com/waitFor`."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

from penstock.kubernetes.api import Api, Object

DEFAULT_SECONDS = 600.0
POLL_SECONDS = 0.2
STEP = re.compile(r'\.(\w+)|\[(\d+)\]|\[\?\(@\.(\w+)=="(\w+)"\)\]')
"""Of a JSONPath: a key, an index, or the first element that has such a value."""


class NotReady(Exception):
    """An object that was made and did not become ready; `reasons` say why, one a line."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class Failed(Exception):
    """It never will become ready."""


def ready(api: Api, path: str, made: Object, timeout_seconds: float, cancelled: Callable[[], bool]) -> Object:
    """The object once it is ready."""
    annotations = made["metadata"].get("annotations", {})
    if annotations.get("pulumi.com/skipAwait") == "true":
        return made
    seconds = float(annotations.get("pulumi.com/timeoutSeconds") or timeout_seconds or DEFAULT_SECONDS)
    deadline = time.monotonic() + seconds
    awaited = annotations.get("pulumi.com/waitFor")
    why = "it was never seen"
    while True:
        live = api.get(path)
        if live is None:
            raise NotReady([f"{made['kind']} {made['metadata']['name']} is gone"])
        try:
            missing = _waited_for(live, awaited) if awaited else _by_kind(api, live)
        except Failed as exc:
            raise NotReady([str(exc), *_warnings(api, live)]) from exc
        if missing is None:
            return live
        why = missing
        if time.monotonic() > deadline or cancelled():
            waited = "the run was cancelled" if cancelled() else f"not ready after {seconds:.0f} seconds"
            raise NotReady([f"{waited}: {why}", *_warnings(api, live)])
        time.sleep(POLL_SECONDS)


def gone(api: Api, path: str, timeout_seconds: float, cancelled: Callable[[], bool]) -> None:
    """Returns when there is no object at the path any more."""
    deadline = time.monotonic() + (timeout_seconds or DEFAULT_SECONDS)
    while (live := api.get(path)) is not None:
        if time.monotonic() > deadline or cancelled():
            held = live["metadata"].get("finalizers") or live.get("spec", {}).get("finalizers") or "nothing"
            raise NotReady([f"{path} is still there; its finalizers: {held}"])
        time.sleep(POLL_SECONDS)


def _by_kind(api: Api, live: Object) -> str | None:
    check = _CHECKS.get((live["apiVersion"].partition("/")[0], live["kind"]))
    return check(api, live) if check else None


def _job(api: Api, live: Object) -> str | None:
    if failed := _condition(live, "Failed"):
        raise Failed(f"[{failed.get('reason')}] {failed.get('message')}")
    if _condition(live, "Complete"):
        return None
    return f"job {live['metadata']['name']} is not complete"


def _deployment(api: Api, live: Object) -> str | None:
    name, status, wanted = live["metadata"]["name"], live.get("status", {}), live["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < live["metadata"]["generation"]:
        return f"deployment {name} has not been looked at"
    for each in status.get("conditions", []):
        if each["type"] == "Progressing" and each.get("reason") == "ProgressDeadlineExceeded":
            raise Failed(f"deployment {name}: {each['message']}")
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < wanted or available < wanted or status.get("replicas", 0) > updated:
        return "Minimum number of live Pods was not attained"
    return None


def _service(api: Api, live: Object) -> str | None:
    metadata, spec = live["metadata"], live["spec"]
    if spec.get("clusterIP") == "None" or not spec.get("selector"):
        return None
    query = {"labelSelector": f"kubernetes.io/service-name={metadata['name']}"}
    slices = api.items(f"/apis/discovery.k8s.io/v1/namespaces/{metadata['namespace']}/endpointslices", query)
    if any(each.get("conditions", {}).get("ready") for part in slices for each in part.get("endpoints") or []):
        return None
    return f"service {metadata['name']} reaches no ready pod"


def _claim(api: Api, live: Object) -> str | None:
    if live.get("status", {}).get("phase") == "Bound":
        return None
    class_name = live["spec"].get("storageClassName")
    found = api.get(f"/apis/storage.k8s.io/v1/storageclasses/{class_name}") if class_name else None
    if found and found.get("volumeBindingMode") == "WaitForFirstConsumer":
        return None
    return f"claim {live['metadata']['name']} is not bound"


_CHECKS: dict[tuple[str, str], Callable[[Api, Object], str | None]] = {
    ("batch", "Job"): _job,
    ("apps", "Deployment"): _deployment,
    ("v1", "Service"): _service,
    ("v1", "PersistentVolumeClaim"): _claim,
}


def _waited_for(live: Object, awaited: str) -> str | None:
    """`condition=Type[=Status]`, `jsonpath={.path}[=value]`, or a JSON list of them, all of which must hold."""
    wanted: list[str] = json.loads(awaited) if awaited.startswith("[") else [awaited]
    for each in wanted:
        kind, _, rest = each.partition("=")
        if kind == "condition":
            name, _, status = rest.partition("=")
            holds = bool(_condition(live, name, status or "True"))
        elif kind == "jsonpath":
            path, _, value = rest.partition("}=")
            found = _at(live, path)
            holds = found is not None and (not value or str(found) == value)
        else:
            raise Failed(f"pulumi.com/waitFor is {each!r}; it is condition=... or jsonpath=...")
        if not holds:
            return f"{live['kind']} {live['metadata']['name']} does not have {each}"
    return None


def _condition(live: Object, name: str, status: str = "True") -> Any:
    conditions = live.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == name and each["status"] == status), None)


def _at(live: Any, path: str) -> Any:
    """What is at such a path as `.a.b[0].c[?(@.d=="e")].f`."""
    for key, index, name, value in STEP.findall(path):
        if key:
            live = live.get(key) if isinstance(live, dict) else None
        elif index:
            live = live[int(index)] if isinstance(live, list) and int(index) < len(live) else None
        else:
            live = next((each for each in live or () if each.get(name) == value), None)
    return live


def _warnings(api: Api, live: Object) -> list[str]:
    """What the cluster has to say about the object and the pods it made."""
    namespace, name = live["metadata"].get("namespace"), live["metadata"]["name"]
    if not namespace:
        return []
    events = api.items(f"/api/v1/namespaces/{namespace}/events", {"fieldSelector": "type=Warning"})
    own = [each for each in events if each["involvedObject"].get("name", "").startswith(name)]
    said = [f"{each['involvedObject']['kind']} {each['involvedObject']['name']}: {each['message']}" for each in own]
    for pod in api.items(f"/api/v1/namespaces/{namespace}/pods"):
        if pod["metadata"]["name"].startswith(name):
            for container in pod.get("status", {}).get("containerStatuses", []):
                state = container.get("state", {})
                bad = state.get("waiting") or state.get("terminated") or {}
                if bad.get("reason") not in (None, "Completed", "ContainerCreating"):
                    where = f"[Pod {namespace}/{pod['metadata']['name']}]"
                    said.append(f"{where}: [{bad['reason']}] {bad.get('message', '')}")
    return list(dict.fromkeys(said))[:10]
