"""The real Knative looks after an endpoint: to zero and back, up with what is in flight, and on to another model."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
from cluster import knative as installed

from penstock import Program, Service
from penstock.kubernetes import Machine, ScaleOn, knative
from penstock.kubernetes import workspace as workspaces
from penstock.kubernetes.api import MERGE, ApiError
from penstock.kubernetes.pods import USER
from penstock.kubernetes.serving import ServingArgs
from penstock.kubernetes.verdict import is_ready
from penstock.kubernetes.workspace import WorkspaceArgs
from tests.cluster.conftest import PODS, eventually
from tests.pods.conftest import NODES, ask
from tests.pods.costly.test_autoscaling import Client

SERVICES = f"/apis/{knative.SERVICE[0]}/namespaces/{{}}/services"
FEATURES = f"/api/v1/namespaces/{knative.SYSTEM}/configmaps/{knative.FEATURES}"
CLAIMS = "kubernetes.podspec-persistent-volume-claim"
ASKED = {"cluster": {"scale_on": "knative", "requests_in_flight": 10}}
RANGE = {"min_replicas": 0, "max_replicas": 3, "idle_seconds": 20}


ANSWERING = """
import http.server, os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
http.server.ThreadingHTTPServer(("0.0.0.0", 8501), Answering).serve_forever()
"""
"""In place of a server with a model: to everything it says ok."""
ASK = """
import sys, time, urllib.request
url, space, revision = sys.argv[1:]
headers = {"Knative-Serving-Namespace": space, "Knative-Serving-Revision": revision} if revision else {}
begin = time.monotonic()
with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=120 if revision else 3) as answer:
    print(answer.read().decode(), time.monotonic() - begin)
"""
"""Asks from the nodes' network, as Knative's ingress does, for a revision; or past Knative."""


@pytest.fixture(scope="module")
def _knative(plane):
    """Knative, in pods."""
    begin = time.monotonic()
    installed.install(plane, NODES)
    print(f"Knative answers after {time.monotonic() - begin:.0f} s", file=sys.stderr)
    yield
    installed.remove(plane)


@pytest.fixture
def space(plane, api, _knative):
    """A namespace as a stack has it, with a volume for its claim."""
    args = WorkspaceArgs("knative", "penstock-knative", storage_class="shared")
    folder = plane.folder / "volumes" / "knative"
    folder.mkdir(parents=True)
    os.chown(folder, USER, USER)
    claim = {"namespace": args.namespace, "name": "artifacts"}
    source = {"hostPath": {"path": str(folder)}, "storageClassName": "shared", "claimRef": claim}
    spec = {"capacity": {"storage": "50Gi"}, "accessModes": ["ReadWriteMany"], **source}
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "volume-knative"}, "spec": spec}
    plane.apply([volume, workspaces.namespace(args)])
    parts = [*workspaces.objects(args).values(), workspaces.claim(args)]
    plane.apply([{**each, "metadata": {**each["metadata"], "namespace": args.namespace}} for each in parts])
    yield args.namespace
    for path in (f"/api/v1/namespaces/{args.namespace}", "/api/v1/persistentvolumes/volume-knative"):
        api.request("DELETE", path)


def test_a_revision_is_reached_by_knative_alone_goes_to_zero_and_answers_a_request_that_comes_there(space, plane, api):
    servers = ServingArgs(
        "knative",
        plane.kubelets.images()["serving"],
        "artifacts",
        scale_on=ScaleOn.KNATIVE,
        machine=Machine(cpus=0.1, memory_gib=0.25),
        caller_namespaces=["apps"],
        observations="observations/serve",
    )
    service = Service(Program.SERVER, [], port=8501, min_replicas=0, max_replicas=3, idle_seconds=5)
    parts = knative.objects("serve", service, [], servers)
    (server,) = parts["knative"]["spec"]["template"]["spec"]["containers"]
    server |= {"command": ["python", "-c", ANSWERING], "args": []}
    plane.apply([{**each, "metadata": {**each["metadata"], "namespace": space}} for each in parts.values()])
    revision = f"/apis/{knative.SERVICE[0]}/namespaces/{space}/revisions/serve-knative-00001"
    begin = time.monotonic()
    eventually(lambda: is_ready(api.get(revision) or {}), "the revision is ready", 200)
    print(f"a revision is ready after {time.monotonic() - begin:.0f} s", file=sys.stderr)

    def pods(namespace=space, selector="penstock.dev/workload=serve"):
        found = api.items(PODS.format(namespace), {"labelSelector": selector})
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def asked(address, name=""):
        command = [*plane.kubelets.beside(), sys.executable, "-c", ASK, f"http://{address}/", space, name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.split() or [done.stderr.strip().splitlines()[-1]]

    (pod,) = pods()
    (activator,) = (each["status"]["podIP"] for each in pods(knative.SYSTEM, "app=activator"))
    assert asked(f"{activator}:8012", "serve-knative-00001")[0] == "ok"
    for port in (8012, 9090, 8501):
        assert "urlopen error" in asked(f"{pod['status']['podIP']}:{port}")[0], "no namespace of the callers'"
    begin = time.monotonic()
    eventually(lambda: not pods(), "nobody asks: no pod", 300)
    print(f"nobody asks: to 0 replicas after {time.monotonic() - begin:.0f} s", file=sys.stderr)
    answer, seconds = asked(f"{activator}:8012", "serve-knative-00001")
    print(f"a request at zero is answered after {float(seconds):.1f} s", file=sys.stderr)
    assert answer == "ok"
    assert float(seconds) > 1, "it was asked at zero"


@pytest.fixture(scope="module")
def _ingress(plane, _knative):
    """What leads to Knative's revisions."""
    installed.lead(plane, NODES)


@pytest.fixture(scope="module")
def by_knative(_ingress, served, api):
    """The endpoint as a Knative Service; it is a Deployment again afterwards."""
    served.configure(**RANGE, **ASKED)
    begin = time.monotonic()
    served.run("up")
    print(f"from a Deployment to a Knative Service: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    yield served
    served.configure()
    served.run("up")
    eventually(lambda: not api.items(SERVICES.format(served.namespace)), "the Knative Service is gone")


@pytest.fixture
def client(plane, api, by_knative):
    """A pod that asks it."""
    yield Client(plane, api, by_knative)
    path = f"{PODS.format('default')}/client"
    api.request("DELETE", path)
    eventually(lambda: api.get(path) is None, "the client is gone")


def becomes(api, served, count, what):
    """Waits until so many pods are there and ready, and none besides."""
    begin = time.monotonic()

    def reached():
        pods = api.items(PODS.format(served.namespace), {"labelSelector": "penstock.dev/role=server"})
        ready = [each for pod in pods for each in pod["status"].get("conditions", []) if each["type"] == "Ready"]
        return len(pods) == count and all(each["status"] == "True" for each in ready)

    eventually(reached, what, 300)
    print(f"{what}: {time.monotonic() - begin:.0f} s", file=sys.stderr)


def test_a_pod_of_another_namespace_is_answered_by_the_model_that_the_stack_attests(by_knative, plane, api):
    model = by_knative.model()
    samples = json.loads((model / "samples.json").read_text())
    url = by_knative.outputs()["endpoint"]
    assert url.startswith(f"http://flow-serve-server-knative.{by_knative.namespace}.svc.cluster.local/")
    answered = ask(api, by_knative, url, samples["instances"])
    assert answered["predictions"] == pytest.approx(samples["predictions"], abs=1e-6)
    assert answered["model"] == answered["digest"] == by_knative.outputs()["model_digest"]
    own = ("--stack", by_knative.stack)
    told = by_knative.operate("status", *own)
    assert "1 of 1 ready" in told, told
    checked = by_knative.operate("verify", *own)
    assert " failed" not in checked, checked
    assert "[pod/flow-serve-server-knative-" in by_knative.operate("logs", "serve", *own)
    by_knative.operate("page", "model_card", "-o", "page.html", *own)
    assert (by_knative.root / "page.html").read_bytes() == (model / "card.html").read_bytes()


def test_an_up_that_changes_nothing_changes_nothing(by_knative):
    assert "updated" not in by_knative.run("up")


def test_replicas_follow_what_is_in_flight_to_zero_and_back_and_no_request_fails(client, by_knative, api):
    becomes(api, by_knative, 0, "nobody asks: to 0 replicas")
    client.tell("hold")
    held = eventually(lambda: client.counted()["held"], "the request that was held is answered", 120)
    print(f"a request at zero is answered after {held[0]:.1f} s", file=sys.stderr)
    assert held[0] > 1, "it was asked at zero"
    client.tell("begin 40")
    becomes(api, by_knative, 3, "40 requests in flight, 10 each: from 1 to 3 replicas")
    client.tell(5)
    before = by_knative.outputs()["model_digest"]
    by_knative.configure(epochs=2, **RANGE, **ASKED)
    by_knative.run("up")
    assert by_knative.outputs()["model_digest"] != before
    samples = json.loads((by_knative.model() / "samples.json").read_text())
    answered = ask(api, by_knative, by_knative.outputs()["endpoint"], samples["instances"])
    assert answered["model"] == by_knative.outputs()["model_digest"]
    client.tell(0)
    becomes(api, by_knative, 0, "no requests: to 0 replicas")
    counted = client.counted()
    print(f"{counted['answered']} requests answered", file=sys.stderr)
    assert counted["failed"] == []
    assert counted["answered"] > 100


def test_an_image_that_is_not_there_fails_up_in_the_pods_words_and_the_revision_before_answers(by_knative, api):
    absent = f"registry.test/absent@sha256:{'0' * 64}"
    cluster = {**ASKED["cluster"], "serving_image": absent, "start_minutes": 0.1}
    by_knative.configure(epochs=2, **RANGE, cluster=cluster)
    told = by_knative.run("up", expected=1)
    assert "Knative Service flow-serve-server-knative cannot start" in told
    assert re.search("waits: (ErrImagePull|ImagePullBackOff)", told)
    assert absent in told
    samples = json.loads((by_knative.model() / "samples.json").read_text())
    answered = ask(api, by_knative, by_knative.outputs()["endpoint"], samples["instances"])
    assert answered["model"] == by_knative.outputs()["model_digest"]


def test_a_feature_that_is_off_is_named_by_the_preview_and_is_what_the_webhook_refuses_a_pod_for(by_knative, api):
    def turned(to):
        api.request("PATCH", FEATURES, body={"data": {CLAIMS: to}}, content_type=MERGE)

    (live,) = api.items(SERVICES.format(by_knative.namespace))
    spec = {**live["spec"], "template": {**live["spec"]["template"], "metadata": {}}}
    other = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": {"name": "other"}, "spec": spec}
    turned("disabled")
    try:
        by_knative.configure(epochs=2, **RANGE, **ASKED)
        told = by_knative.preview(expected=255)
        assert f"takes no such pod by Knative, which lacks {CLAIMS}; let it take them with `kubectl patch" in told

        def refused():
            try:
                api.request("POST", SERVICES.format(by_knative.namespace), {"dryRun": "All"}, other)
            except ApiError as exc:
                return str(exc)
            return ""

        assert "Persistent volume claim support is disabled" in eventually(refused, "Knative has read of it")
    finally:
        turned("enabled")
