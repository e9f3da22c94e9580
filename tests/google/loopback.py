"""Google's services on the loopback address; every request is judged by Google's own description of them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import discovery


class Google:
    """Buckets and Compute Engine's quotas, in memory. `refused` holds what no real service would have taken."""

    def __init__(self) -> None:
        self.url = ""
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.listed: dict[str, list[dict[str, Any]]] = {}
        """Items by method: what `compute.firewalls.list` and its like answer."""
        self.got: dict[str, Any] = {}
        """Answers by method: what `compute.regions.get` and its like answer."""
        self.calls: list[str] = []
        self.refused: list[str] = []

    def seal(self, bucket: str, folder: str, files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        """Puts an artifact into a bucket."""
        content = self.buckets.setdefault(bucket, {})
        content |= {f"{folder}/{name}": data for name, data in files.items()}
        content[f"{folder}/manifest.json"] = json.dumps(manifest).encode()

    def answer(self, call: discovery.Call) -> tuple[int, bytes]:
        """What a service says."""
        self.calls.append(call.method)
        given = call.parameters
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
            api, version = ("storage", "v1") if self.path.startswith("/storage") else ("compute", "v1")
            if self.path.startswith("/v1/projects"):
                api, version = "serviceusage", "v1"
            try:
                status, data = google.answer(discovery.call(api, version, self.command, self.path, body))
            except (ValueError, KeyError) as exc:
                google.refused.append(str(exc))
                status, data = 400, str(exc).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 (the names are the base class's)

        def log_message(self, *arguments: Any) -> None:
            """The tests look at `calls`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    google.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield google
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not google.refused, google.refused
