"""Tells Prometheus which pods there are: Debian's is built without the part that asks the API server itself.

Run as a process, `python -m cluster.discovery --kubeconfig=FILE --target=FILE`: once a second it writes what the
missing part would have found, by the same names.
"""

import argparse
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock.kubernetes.api import Api, ClusterError

META = "__meta_kubernetes"
POLL_SECONDS = 1.0


def found(pods: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What there is to scrape of the pods that have an address."""
    for pod in pods:
        address, metadata = pod["status"].get("podIP"), pod["metadata"]
        if not address:
            continue
        labels = {
            f"{META}_namespace": metadata["namespace"],
            f"{META}_pod_name": metadata["name"],
            f"{META}_pod_ip": address,
            f"{META}_pod_phase": pod["status"].get("phase", ""),
        }
        for name, value in metadata.get("annotations", {}).items():
            labels[f"{META}_pod_annotation_{re.sub('[^a-zA-Z0-9_]', '_', name)}"] = value
        yield {"targets": [address], "labels": labels}


def follow(api: Api, target: Path) -> None:
    """Writes them again and again, the file whole at any moment."""
    while True:
        try:
            content = json.dumps(list(found(api.items("/api/v1/pods"))))
        except ClusterError:
            # The API server is away now and then, and Prometheus goes on with what it knows.
            time.sleep(POLL_SECONDS)
            continue
        part = target.with_suffix(".part")
        part.write_text(content)
        part.replace(target)
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--target", type=Path, required=True)
    given = parser.parse_args()
    follow(Api(given.kubeconfig), given.target)
