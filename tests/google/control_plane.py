"""A cluster's API server on the loopback address: the JobSets of the simulated cloud, and pods that have run."""

import datetime
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from listening import listening
from standin.cloud import Cloud

JOB_SET = "jobset.x-k8s.io/v1alpha2:JobSet:"
LABEL = "jobset.sigs.k8s.io/"


class ControlPlane:
    """Jobs are done at once, but for those whose workload `failing` names: their chief said why."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self._cloud, self.failing = cloud, ""
        self.certificate = _certificate(folder)
        self.address = ""
        self.watched: list[str] = []
        """Deployments whose pods somebody has asked for."""

    @property
    def around(self) -> dict[str, str]:
        """What tells a stack how to reach it."""
        return {"PENSTOCK_STANDIN_KUBERNETES": self.address, "SSL_CERT_FILE": str(self.certificate)}

    def answer(self, verb: str, url: str, body: Any) -> tuple[int, Any]:
        """What the API server says."""
        parts = urlsplit(url)
        *_, namespace, kind, name = (
            f"{parts.path}/".split("/")[:-1] if "/jobsets/" in parts.path else [*parts.path.split("/"), ""]
        )
        if kind == "pods":
            wanted = parse_qs(parts.query)["labelSelector"][0].partition("=")[2]
            return 200, {"items": self._pods(wanted)}
        if "/deployments/" in parts.path:
            return self._deployment(*parts.path.split("/")[-3::2])
        if kind == "events":
            return 200, {"items": []}
        id_ = f"{JOB_SET}{namespace}/{name or (body or {}).get('metadata', {}).get('name')}"
        with self._cloud.resources() as resources:
            if verb == "POST":
                metadata = {"namespace": namespace, "uid": "again", **body["metadata"]}
                resources[id_] = {
                    "type": f"kubernetes:{JOB_SET}"[:-1],
                    "inputs": {**body, "metadata": {"namespace": namespace, **body["metadata"]}},
                    "outputs": {**body, "metadata": metadata},
                }
            if id_ not in resources:
                return 404, {"message": f"{id_} not found"}
            found = resources[id_]["outputs"]
            if verb == "PATCH":
                found["metadata"].setdefault("annotations", {}).update(body["metadata"]["annotations"])
            if verb == "DELETE":
                del resources[id_]
        state = "Failed" if self._fails(found) else "Completed"
        return 200, {**found, "status": {"terminalState": state, "conditions": []}}

    def _deployment(self, namespace: str, name: str) -> tuple[int, Any]:
        """All its pods are ready at once."""
        found = self._cloud.existing().get(f"apps/v1:Deployment:{namespace}/{name}")
        if found is None:
            return 404, {"message": f"{name} not found"}
        self.watched.append(name)
        count = found["outputs"]["spec"].get("replicas", 1)
        numbers = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), count)
        return 200, {**found["outputs"], "status": {**numbers, "observedGeneration": 1}}

    def _fails(self, job_set: dict[str, Any]) -> bool:
        return bool(self.failing) and self.failing in job_set["metadata"]["name"]

    def _pods(self, job_set: str) -> list[dict[str, Any]]:
        found = next(r for id_, r in self._cloud.existing().items() if id_.endswith(f"/{job_set}"))["outputs"]
        failed = self._fails(found)
        measured = {"decision": {"promoted": True, "reason": "nothing serves yet"}}
        result = {"path": f"/artifacts/{job_set}", "digest": f"sha256:{job_set}", "counts": {}, "metrics": measured}
        message = "error: column 'orign' is not in the dataset" if failed else json.dumps(result)
        ended = {"exitCode": 2 if failed else 0, "message": message, "reason": "Error" if failed else "Completed"}
        labels = {f"{LABEL}jobset-name": job_set, f"{LABEL}replicatedjob-name": "chief"}
        return [
            {
                "metadata": {
                    "name": f"{job_set}-chief-0-0",
                    "labels": {**labels, "batch.kubernetes.io/job-completion-index": "0"},
                },
                "spec": {},
                "status": {
                    "phase": "Failed" if failed else "Succeeded",
                    "containerStatuses": [{"name": "trainer", "image": "", "state": {"terminated": ended}}],
                },
            }
        ]


@contextmanager
def serving(cloud: Cloud, folder: Path) -> Iterator[ControlPlane]:
    """The API server, while the block runs, and Google's sign-in for it among the plugins of the folder."""
    _auth_plugin(folder / "plugins")
    plane = ControlPlane(cloud, folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, content = plane.answer(self.command, self.path, body)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 (the names are the base class's)

        def log_message(self, *arguments: Any) -> None:
            """The test looks at what came of it."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(plane.certificate)
    with listening(Handler, context) as url:
        plane.address = urlsplit(url).netloc
        yield plane


def _auth_plugin(folder: Path) -> None:
    """Google's sign-in for Kubernetes clients, as a script that knows one token."""
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "kind": "ExecCredential",
        "status": {"token": "trial"},
    }
    script = folder / "gke-gcloud-auth-plugin"
    script.write_text(f"#!/bin/sh\necho '{json.dumps(credential)}'\n")
    script.chmod(0o755)


def _certificate(folder: Path) -> Path:
    """A key and a certificate of its own for the loopback address, in one file."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "control-plane.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file
