"""Debian's Prometheus on the nodes' network: it scrapes the pods that ask for it, and names them as its chart does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import PROJECT

from cluster import controllers, network

if TYPE_CHECKING:
    from cluster.control_plane import ControlPlane

PORT = 9090
URL = f"http://{network.GATEWAY}:{PORT}"
"""As pods and whoever is on their network reach it."""
ASK = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).read().decode())"


def install(plane: "ControlPlane") -> None:
    """Returns once it answers."""
    assert plane.kubelets is not None, "it scrapes pods, and only real nodes have some"
    folder = plane.folder / "prometheus"
    folder.mkdir()
    pods, configuration = folder / "pods.json", folder / "prometheus.yml"
    configuration.write_text(json.dumps(_configuration(str(pods)), indent=1))
    asked = {"kubeconfig": plane.kubeconfig, "target": pods}
    environment = {"PYTHONPATH": f"{PROJECT}/tools:{PROJECT}/modules"}
    discovery = ["-m", "cluster.discovery"]
    plane.processes.start("discovery", Path(sys.executable), asked, arguments=discovery, environment=environment)
    plane.processes.wait("discovery", pods.exists)
    command = [str(controllers.prometheus()), f"--config.file={configuration}"]
    command += [f"--storage.tsdb.path={folder}", f"--web.listen-address={network.GATEWAY}:{PORT}"]
    plane.kubelets.start_beside("prometheus", command, "prometheus", ("system:masters",))
    plane.processes.wait("prometheus", lambda: _asked(plane, f"{URL}/-/ready").returncode == 0)


def _asked(plane: "ControlPlane", url: str) -> "subprocess.CompletedProcess[str]":
    assert plane.kubelets is not None
    command = [*plane.kubelets.beside(), sys.executable, "-c", ASK, url]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _configuration(pods: str) -> dict[str, Any]:
    """The part for pods of the configuration that Prometheus' own chart installs."""
    known = "__meta_kubernetes_pod"
    chosen: list[dict[str, Any]] = [
        {"source_labels": [f"{known}_annotation_prometheus_io_scrape"], "action": "keep", "regex": "true"},
        {"source_labels": [f"{known}_phase"], "action": "drop", "regex": "Pending|Succeeded|Failed"},
        {
            "source_labels": [f"{known}_annotation_prometheus_io_port", f"{known}_ip"],
            "regex": r"(\d+);(.+)",
            "replacement": "$2:$1",
            "target_label": "__address__",
        },
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": [f"{known}_name"], "target_label": "pod"},
    ]
    job = {"job_name": "kubernetes-pods", "file_sd_configs": [{"files": [pods]}], "relabel_configs": chosen}
    return {"global": {"scrape_interval": "2s", "scrape_timeout": "2s"}, "scrape_configs": [job]}
