"""Google's services on the loopback address; every request is judged by Google's own description of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import discovery
from listening import listening


class Google:
    """Buckets, Compute Engine, Cloud Run, Dataflow and a cluster, in memory. `refused` holds what no real service would
    have taken."""

    def __init__(self) -> None:
        self.url = ""
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.listed: dict[str, list[dict[str, Any]]] = {}
        """Items by method: what `compute.firewalls.list` and its like answer."""
        self.got: dict[str, Any] = {}
        """Answers by method: what `compute.regions.get` and its like answer."""
        self.services: dict[str, dict[str, Any]] = {}
        """Cloud Run's, by name."""
        self.jobs: dict[str, dict[str, Any]] = {}
        """Dataflow's, by id."""
        self.cluster: dict[str, dict[str, Any]] = {}
        """Kubernetes' objects by kind and name; its own tests have a real API server."""
        self.failing = ""
        """The method that is out of order."""
        self.calls: list[str] = []
        self.asked: list[dict[str, str]] = []
        """The parameters of each call."""
        self.refused: list[str] = []

    def seal(self, bucket: str, folder: str, files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        """Puts an artifact into a bucket."""
        content = self.buckets.setdefault(bucket, {})
        content |= {f"{folder}/{name}": data for name, data in files.items()}
        content[f"{folder}/manifest.json"] = json.dumps(manifest).encode()

    def answer(self, call: discovery.Call, path: str, body: Any) -> tuple[int, bytes]:
        """What a service says."""
        self.calls.append(call.method)
        given = call.parameters
        self.asked.append(given)
        if call.method == self.failing:
            return 503, b"out of order"
        if call.method == "storage.objects.insert":
            self.buckets.setdefault(given["bucket"], {})[given["name"]] = json.dumps(body).encode()
            return _json({})
        if call.method == "storage.objects.delete":
            return (404, b"") if self.buckets[given["bucket"]].pop(given["object"], None) is None else (204, b"")
        if call.method in ("run.projects.locations.services.get", "run.projects.locations.services.patch"):
            service = self.services[path.removeprefix("/v2/")]
            if call.method.endswith(".patch"):
                service |= {field: body[field] for field in given["updateMask"].split(",")}
            return _json(service)
        if call.method == "dataflow.projects.locations.jobs.list":
            known = self.jobs.values()
            if given.get("filter") == "ACTIVE":
                known = [job for job in known if job.get("currentState", "JOB_STATE_RUNNING") == "JOB_STATE_RUNNING"]
            return _json({"jobs": list(known)})
        if call.method == "dataflow.projects.locations.jobs.update":
            self.jobs[given["jobId"]] |= body
            return _json(self.jobs[given["jobId"]])
        if call.method == "storage.objects.list":
            names = sorted(self.buckets.get(given["bucket"], {}))
            return _json({"items": [{"name": name} for name in names if name.startswith(given.get("prefix", ""))]})
        if call.method == "storage.objects.get":
            data = self.buckets.get(given["bucket"], {}).get(given["object"])
            return (404, b"No such object") if data is None else (200, data)
        if call.method == "storage.objects.rewrite":
            data = self.buckets[given["sourceBucket"]][given["sourceObject"]]
            self.buckets.setdefault(given["destinationBucket"], {})[given["destinationObject"]] = data
            return _json({"done": True})
        if call.method in self.got:
            return _json(self.got[call.method])
        return _json({"items": self.listed.get(call.method, [])})

    def kubernetes(self, verb: str, path: str, body: Any) -> tuple[int, bytes]:
        """What the cluster's API server says to a look and to a merge patch."""
        _, _, _, _, _, namespace, kind, *name = path.split("/")
        self.calls.append(f"kubernetes.{kind}.{verb.lower()}")
        assert namespace == "penstock", path
        if verb == "GET":
            return _json({"items": list(self.cluster[kind].values())})
        found = self.cluster[kind][name[0]]
        found["metadata"]["annotations"] = {
            key: value
            for key, value in {
                **found["metadata"].get("annotations", {}),
                **body["metadata"]["annotations"],
            }.items()
            if value is not None
        }
        found["spec"] |= body["spec"]
        return _json(found)


APIS = {
    "/storage": ("storage", "v1"),
    "/upload/storage": ("storage", "v1"),
    "/v1/projects": ("serviceusage", "v1"),
    "/v1b3": ("dataflow", "v1b3"),
    "/v2": ("run", "v2"),
    "/compute": ("compute", "v1"),
}


def _json(value: Any) -> tuple[int, bytes]:
    return 200, json.dumps(value).encode()


@contextmanager
def serving() -> Iterator[Google]:
    """Google, while the block runs; a refused request fails the block at its end."""
    google = Google()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = self.path.partition("?")[0]
            try:
                if path.startswith("/apis/"):
                    status, data = google.kubernetes(self.command, path, body)
                else:
                    api, version = next(api for prefix, api in APIS.items() if path.startswith(prefix))
                    call = discovery.call(api, version, self.command, self.path, body)
                    status, data = google.answer(call, path, body)
            except (ValueError, KeyError, StopIteration, AssertionError) as exc:
                google.refused.append(str(exc))
                status, data = 400, str(exc).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815 (the names are the base class's)

        def log_message(self, *arguments: Any) -> None:
            """The tests look at `calls`."""

    with listening(Handler) as google.url:
        yield google
    assert not google.refused, google.refused
