import json
from pathlib import Path

import loopback
import pytest
import yaml
from standin import drift

from penstock.errors import StageFailed
from penstock.gcp import guarding, promotion
from penstock.gcp.storage_api import Storage
from penstock.local.fingerprint import canonical_digest

MANIFEST = {
    "format": 1,
    "kind": "model",
    "files": {"schema.json": "sha256:1", "saved_model/saved_model.pb": "sha256:2", "card.html": "sha256:3"},
}
FILES = {"schema.json": b"{}", "saved_model/saved_model.pb": b"\0model", "card.html": b"<html>card"}


@pytest.fixture
def google(monkeypatch):
    with loopback.serving() as google:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.url)
        google.seal("staging", "models/aa", FILES, MANIFEST)
        google.seal("staging", "models/bb", FILES, {**MANIFEST, "counts": {"rows": 1}})
        yield google


def wanted(digest):
    return {"digest": digest, "source": "staging", "target": "prod"}


def test_a_model_is_found_by_its_digest_alone_and_arrives_whole(google):
    folder = promotion.fetch(Storage(), wanted(canonical_digest(MANIFEST)))
    assert folder == "models/aa"
    own = google.buckets["prod"]
    assert own == {name: data for name, data in google.buckets["staging"].items() if name.startswith("models/aa/")}
    assert canonical_digest(json.loads(own["models/aa/manifest.json"])) == canonical_digest(MANIFEST)
    assert list(own)[-1] == "models/aa/manifest.json", "the seal comes last"


def test_a_signature_goes_with_the_model_though_no_manifest_lists_it_and_a_later_one_follows(google):
    digest, signature = canonical_digest(MANIFEST), "models/aa/signature.json"
    google.buckets["staging"][signature] = b'{"key": "1"}'
    promotion.fetch(Storage(), wanted(digest))
    own = google.buckets["prod"]
    assert own[signature] == b'{"key": "1"}'
    assert list(own)[-1] == "models/aa/manifest.json", "the seal comes last"
    google.buckets["staging"][signature] = b'{"key": "2"}'
    promotion.fetch(Storage(), wanted(digest))
    assert own[signature] == b'{"key": "2"}'


def test_what_is_there_is_not_copied_again(google):
    promotion.fetch(Storage(), wanted(canonical_digest(MANIFEST)))
    google.calls.clear()
    promotion.fetch(Storage(), wanted(canonical_digest(MANIFEST)))
    assert "storage.objects.rewrite" not in google.calls


def test_a_digest_that_no_model_has_is_told_with_where_it_was_looked_for(google):
    with pytest.raises(StageFailed, match="no model in gs://staging has the digest sha256:0; 2 models are there"):
        promotion.fetch(Storage(), wanted("sha256:0"))


def test_prod_serves_the_model_of_staging_by_its_digest_and_the_next_one_by_another(make_environment, google):
    digest = canonical_digest(MANIFEST)
    prod = make_environment("prod", model=digest, model_store="staging", protect=False)
    (prod.folder / "verifying.pem").write_text("PUBLIC")
    prod.run("config", "set", "verify_key", "verifying.pem", "--stack", "prod")
    prod.run("up", "--yes", "--skip-preview", "--stack", "prod", STORAGE_EMULATOR_HOST=google.url)
    (service,) = (r for r in prod.cloud.existing().values() if r["type"] == "gcp:cloudrunv2/service:Service")
    arguments = service["inputs"]["template"]["containers"][0]["args"]
    assert arguments[:2] == ["--model", "/artifacts/models/aa"]
    assert arguments[arguments.index("--expect-digest") + 1] == digest
    assert arguments[arguments.index("--verify-key") + 1] == "/keys/verifying.pem"
    assert prod.outputs()["model_digest"] == digest
    cost = prod.outputs()["estimated_cost"]
    drift.write(prod.cloud)
    prod.run("refresh", "--yes", "--skip-preview", "--stack", "prod", STORAGE_EMULATOR_HOST=google.url)
    said = prod.run("preview", "--stack", "prod", STORAGE_EMULATOR_HOST=google.url)
    assert "unchanged" in said
    assert " to update" not in said
    idle = " to ".join(f"{bound:.2f}" for bound in cost["usd_per_hour_idle"])
    assert f"price in USD, an hour idle {idle}, peak" in said, "every preview tells it, changed or not"
    assert "Cloud Run vCPU while answering: 4 idle, 100 peak" in said, "with the rows behind it"
    assert 0 < cost["usd_per_hour_idle"][0] <= cost["usd_per_hour_idle"][1] < cost["usd_per_hour_peak"][1]

    other = canonical_digest({**MANIFEST, "counts": {"rows": 1}})
    file = Path(prod.folder, "stacks/Pulumi.prod.yaml")
    before = file.read_text()
    nobody = f"sha256:{'9' * 64}"
    said = prod.operate("promote", nobody, expected=1, STORAGE_EMULATOR_HOST=google.url)
    assert f"no model in gs://staging has the digest {nobody}" in said
    assert file.read_text() == before, "a model that is nowhere changes no line"

    said = prod.operate("promote", other, "--up", STORAGE_EMULATOR_HOST=google.url)
    assert f"gcp.model is {other} (it was {digest})" in said
    assert "gs://staging/models/bb is copied here and answers" in said
    assert "2 updated" in said, "the model and the service, and nothing else"
    assert {token for operation, token, _ in prod.cloud.calls("update", "delete")} == {"gcp:cloudrunv2/service:Service"}
    said = prod.operate("rollback", STORAGE_EMULATOR_HOST=google.url)
    assert f"gcp.model is {digest} (it was {other})" in said
    assert yaml.safe_load(file.read_text())["config"]["penstock:gcp"]["model"] == digest
    assert "nobody is signed in to Google" in prod.operate("status", GOOGLE_APPLICATION_CREDENTIALS="/nowhere.json")
    (made,) = (r for r in prod.cloud.existing().values() if r["type"] == "gcp:cloudrunv2/service:Service")
    path = f"projects/{made['outputs']['project']}/locations/us-central1/services/penstock-prod"
    google.services[path] = {
        "latestReadyRevision": f"{path}/revisions/{made['outputs']['latestReadyRevision']}",
        "terminalCondition": {"state": "CONDITION_FAILED", "message": "the image cannot be pulled"},
    }
    said = prod.operate("status", PENSTOCK_RUN_ENDPOINT=google.url)
    assert "endpoint https://" in said
    assert "revision penstock-prod-00001 serves; the one after it does not: the image cannot be pulled" in said
    (bucket,) = (
        r["outputs"]["name"]
        for id_, r in prod.cloud.existing().items()
        if r["type"] == "gcp:storage/bucket:Bucket" and "guard" not in id_
    )
    card = f"https://storage.cloud.google.com/{bucket}/models/bb/card.html"
    assert prod.outputs()["model_card"] == card, "which a browser opens as whoever is signed in"
    prod.operate("page", "model_card", "-o", "card.html", STORAGE_EMULATOR_HOST=google.url)
    assert Path(prod.folder, "card.html").read_bytes() == FILES["card.html"]
    assert f"version 1  {other.removeprefix('sha256:')[:12]}  100%" in said
    assert "budget: nothing has been told yet" in prod.operate("cost", STORAGE_EMULATOR_HOST=google.url)
    own = guarding.records("penstock-prod-example", "penstock-prod")
    state = {"share": 0.82, "cost": 820.0, "budget": 1000.0, "stages": ["warn", "stop_trials"], "changed": []}
    google.buckets[own] = {guarding.STATE: json.dumps(state).encode()}
    said = prod.operate("cost", STORAGE_EMULATOR_HOST=google.url)
    assert "budget: 82% of the budget is spent (820.00 of 1000.00); warn, stop_trials" in " ".join(said.split())
    prod.run("destroy", "--yes", "--stack", "prod", STORAGE_EMULATOR_HOST=google.url)
    assert prod.cloud.existing() == {}
