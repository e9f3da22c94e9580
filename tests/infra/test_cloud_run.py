"""`penstock verify` on a stack whose endpoint is on Cloud Run: Google's services on the loopback address, judged by
Google's own description of them, and a real server with the real model behind what lets nobody in without a token.
"""

import copy
import json
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT

sys.path.append(str(CHECKOUT / "tests/google"))
import discovery
import loopback
from listening import listening

PATH = "projects/acme-prod/locations/us-central1/services/penstock-prod"
TOKEN = "a-token-of-gcloud"
ACCOUNT = "server@acme-prod.iam.gserviceaccount.com"
IMAGE = "us-docker.pkg.dev/acme/penstock/serving@sha256:" + "a" * 64
LATEST = {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}


@pytest.fixture(scope="module", autouse=True)
def _up(served):
    """The stack as it was, whatever a test before it left."""
    served.configure()
    served.run("up")


@pytest.fixture
def front(served) -> Iterator[str]:
    """Cloud Run before the server of the stack: who names nobody gets a page, no JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length) if length else None
            status, headers, answer = 403, {"content-type": "text/html"}, b"<html>403 Forbidden</html>"
            if self.headers.get("authorization") == f"Bearer {TOKEN}":
                asked = urllib.request.Request(f"http://127.0.0.1:{served.port}{self.path}", body)
                try:
                    with urllib.request.urlopen(asked, timeout=60) as said:
                        status, headers, answer = said.status, said.headers, said.read()
                except urllib.error.HTTPError as exc:
                    with exc:
                        status, headers, answer = exc.code, exc.headers, exc.read()
            self.send_response(status)
            for name in ("content-type", "x-model-digest"):
                if name in headers:
                    self.send_header(name, headers[name])
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815 (the name is the base class's)

        def log_message(self, *arguments: Any) -> None:
            """The tests look at what came of it."""

    with listening(Handler) as url:
        yield url


@pytest.fixture
def google(served) -> Iterator[loopback.Google]:
    """Google, with the model in a bucket and a service as the stack made it."""
    folder = Path(served.deployment()["flow-train-model"]["outputs"]["path"])
    with loopback.serving() as google:
        files = (file for file in folder.rglob("*") if file.is_file())
        google.buckets["models"] = {f"models/m/{file.relative_to(folder)}": file.read_bytes() for file in files}
        google.services[PATH] = {
            "name": PATH,
            "ingress": "INGRESS_TRAFFIC_INTERNAL_ONLY",
            "scaling": {"minInstanceCount": 1},
            "template": {
                "serviceAccount": ACCOUNT,
                "scaling": {"maxInstanceCount": 4},
                "containers": [{"image": IMAGE}],
            },
            "latestReadyRevision": f"{PATH}/revisions/penstock-prod-00002",
            "latestCreatedRevision": f"{PATH}/revisions/penstock-prod-00002",
            "terminalCondition": {"type": "Ready", "state": "CONDITION_SUCCEEDED"},
            "trafficStatuses": [LATEST],
        }
        google.got["run.projects.locations.services.getIamPolicy"] = {
            "bindings": [{"role": "roles/run.invoker", "members": ["group:data-science@example.com"]}]
        }
        yield google


@pytest.fixture
def stack(served, front, google) -> Iterator[dict[str, str]]:
    """The stack's state with a service of Cloud Run in the place of the processes; what a command must know besides."""
    text = served.state_file.read_text()
    state = json.loads(text)
    latest = state["checkpoint"]["latest"]
    (endpoint,) = (r for r in latest["resources"] if r["urn"].endswith("::flow-serve-server"))
    made = copy.deepcopy(google.services[PATH])
    arguments = ["--model", "/artifacts/models/m", "--name", served.outputs()["model_name"]]
    made["template"]["containers"][0] |= {
        "args": [*arguments, "--expect-digest", served.outputs()["model_digest"]],
        "volumeMounts": [{"name": "artifacts", "mountPath": "/artifacts"}],
    }
    made["template"]["volumes"] = [{"name": "artifacts", "gcs": {"bucket": "models"}}]
    own = {"name": "penstock-prod", "project": "acme-prod", "location": "us-central1", "uri": front}
    endpoint |= {"type": "gcp:cloudrunv2/service:Service", "outputs": {**made, **own}}
    endpoint["urn"] = endpoint["urn"].rpartition("$")[0] + "$gcp:cloudrunv2/service:Service::flow-serve-server"
    served.state_file.write_text(json.dumps(state))
    gcloud = served.root / "bin/gcloud"
    gcloud.parent.mkdir(exist_ok=True)
    gcloud.write_text(f'#!/bin/sh\n[ "$*" = "auth print-identity-token" ] && echo {TOKEN}\n')
    gcloud.chmod(0o755)
    path = f"{gcloud.parent}:{served.environment()['PATH']}"
    yield {"PATH": path, "PENSTOCK_RUN_ENDPOINT": google.url, "STORAGE_EMULATOR_HOST": google.url}
    served.state_file.write_text(text)


def test_what_google_says_here_is_what_it_can_say(google):
    assert discovery.Schemas("run", "v2").problems("GoogleCloudRunV2Service", google.services[PATH]) == []


def test_verify_finds_nothing_wrong_with_an_endpoint_that_is_as_it_was_made(served, stack):
    said = served.operate("verify", **stack)
    assert re.search(r"\b13 passed", said), said


def test_verify_names_what_has_been_changed_behind_the_stack_s_back(served, stack, google):
    service = google.services[PATH]
    service |= {"ingress": "INGRESS_TRAFFIC_ALL", "scaling": {}, "latestCreatedRevision": f"{PATH}/revisions/other"}
    service["template"] |= {"serviceAccount": "1-compute@developer.gserviceaccount.com"}
    service["template"]["containers"] = [{"image": "docker.io/other/serving:latest"}]
    google.got["run.projects.locations.services.getIamPolicy"]["bindings"][0]["members"].append("allUsers")
    google.buckets["models"]["models/m/card.html"] += b" "
    said = served.operate("verify", expected=1, **stack)
    assert re.search(r"\b7 failed, 6 passed", said), said
    assert "'card.html'" in said
    assert "allUsers" in said


def test_the_budget_s_guard_is_named_where_it_has_lowered_the_range(served, stack, google):
    google.services[PATH] |= {"annotations": {"penstock.dev/budget": "{}"}, "scaling": {"manualInstanceCount": 0}}
    said = served.operate("verify", expected=1, **stack)
    assert re.search(r"\b1 failed, 12 passed", said), said
    assert "the budget's guard has lowered its range" in said


def test_who_cannot_be_known_to_cloud_run_is_told_why(served, stack):
    gcloud = Path(stack["PATH"].partition(":")[0]) / "gcloud"
    gcloud.write_text("#!/bin/sh\necho 'You do not currently have an active account selected.' >&2\nexit 1\n")
    said = served.operate("verify", expected=1, **stack)
    assert "gcloud has no token for Cloud Run: You do not currently have an active account" in said
    gcloud.unlink()
    cli = shutil.which("pulumi", path=stack["PATH"])
    bare = [str(served.root / "bin"), *([str(Path(cli).parent)] if cli else [])]
    said = served.operate("verify", expected=1, **{**stack, "PATH": os.pathsep.join(bare)})
    assert "a token of gcloud's, which is not on PATH" in said
    said = served.operate("verify", "--host", "ssh://box", expected=1, **stack)
    assert "an endpoint on Cloud Run is asked from here" in said
