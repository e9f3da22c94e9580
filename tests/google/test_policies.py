"""The policy pack on the real engine: what it stops, and that a replacement takes a named approval."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from penstock.gcp import pins

STORE = """
    import os, json, pulumi
    from penstock import gcp

    gcp.ArtifactStore("store", {
        "bucket": "acme-store", "location": os.environ.get("PLACE", "us-central1"),
        "protect": bool(os.environ.get("PROTECT")), "approved": json.loads(os.environ.get("APPROVED", "[]")),
        "labels": {"environment": "dev", "owner": "me", "model": "flights", "run": "shared"}})
"""
BUCKET = "gcp:storage/bucket:Bucket store-bucket"


def test_a_prod_that_loses_data_or_costs_too_much_is_refused_by_the_names_of_the_rules(make_environment, policed):
    prod = make_environment("prod", protect=False, usd_per_hour_at_most=1, internet=True)
    told = prod.run("preview", "--stack", "prod", *policed, expected=1)
    for rule, finding in {
        "protected-data": "flow-store-bucket goes with all that is in it",
        "replacement-approval": "flow-serve-server-service is an endpoint that a deployment may replace",
        "price-ceiling": "costs up to 9.584 USD an hour at its peak, the ceiling is 1",
    }.items():
        assert f"[mandatory]  {rule}" in told, told
        assert finding in told
    assert "no-public-exposure  (" not in told, "the internet was asked for by name"
    assert prod.cloud.existing() == {}


def test_a_protected_bucket_is_replaced_with_a_named_approval_only(stack, policed):
    trial = stack(STORE)
    trial.run("config", "set", "penstock:gcp", json.dumps({"protect": True}), "--stack", "dev")
    unprotected = trial.run("preview", "--stack", "dev", *policed, expected=1)
    assert "[mandatory]  replacement-approval  (gcp:storage/bucket:Bucket: store-bucket)" in unprotected
    trial.up(*policed, PROTECT="1")

    there = {"PROTECT": "1", "PLACE": "europe-west4"}
    refused = trial.run("preview", "--stack", "dev", *policed, expected=1, **there)
    assert "unable to replace resource" in refused, refused
    assert "currently marked for protection" in refused
    assert "unable to replace resource" in trial.up(expected=1, **there), "the engine refuses without the pack too"

    approval = {"protect": True, "approve_replacement": ["store-bucket"]}
    trial.run("config", "set", "penstock:gcp", json.dumps(approval), "--stack", "dev")
    approved = trial.steps(*policed, **there, APPROVED='["store-bucket"]')
    assert approved[BUCKET] in pins.REPLACING


@pytest.fixture
def api_server():
    """As much of an API server as a preview asks: that it knows JobSets, and that its caller may do everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("content-length") or 0))
            kinds = [{"name": "jobsets", "kind": "JobSet", "namespaced": True, "verbs": []}]
            classes = [{"metadata": {"name": "shared"}}]
            answers = {
                "/apis/jobset.x-k8s.io/v1alpha2": {"resources": kinds},
                "/apis/storage.k8s.io/v1/storageclasses": {"items": classes},
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": {"status": {"allowed": True}},
            }
            found = answers.get(self.path.partition("?")[0])
            data = json.dumps(found or {"message": f"{self.path} not found"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 (the name is the base class's)

        def log_message(self, *arguments):
            """The test looks at what came of it."""

    with _serving(Handler) as url:
        yield url


@contextmanager
def _serving(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_stack_on_an_existing_cluster_breaks_no_rule(make_environment, api_server, tmp_path, policed):
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "trial",
        "clusters": [{"name": "trial", "cluster": {"server": api_server}}],
        "users": [{"name": "trial", "user": {}}],
        "contexts": [{"name": "trial", "context": {"cluster": "trial", "user": "trial"}}],
    }
    file = tmp_path / "kubeconfig.json"
    file.write_text(json.dumps(kubeconfig))
    images = {f"{name}_image": f"registry.example.com/{name}@sha256:{'a' * 64}" for name in ("trainer", "serving")}
    cluster = make_environment("cluster", kubeconfig=str(file), storage_class="shared", **images)
    plan = cluster.steps(*policed)
    made = {each.partition(" ")[0] for each in plan}
    assert {"kubernetes:core/v1:Namespace", "kubernetes:networking.k8s.io/v1:NetworkPolicy"} <= made
