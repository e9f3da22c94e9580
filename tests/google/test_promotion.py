import json
import re
import shlex
from pathlib import Path

import loopback
import pytest
import yaml
from standin import drift

from penstock.errors import StageFailed
from penstock.gcp import guarding, promotion, verdict
from penstock.gcp.storage_api import Storage
from penstock.local.fingerprint import canonical_digest

PAGE = Path(__file__).resolve().parents[2] / "docs/gcp.md"
STORE = "penstock-staging-example-penstock-staging"
"""The bucket that prod's file names."""
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
        google.seal(STORE, "models/aa", FILES, MANIFEST)
        google.seal(STORE, "models/bb", FILES, {**MANIFEST, "counts": {"rows": 1}})
        yield google


def wanted(digest):
    return {"digest": digest, "source": STORE, "target": "prod"}


def test_a_model_is_found_by_its_digest_alone_and_arrives_whole(google):
    folder = promotion.fetch(Storage(), wanted(canonical_digest(MANIFEST)))
    assert folder == "models/aa"
    own = google.buckets["prod"]
    assert own == {name: data for name, data in google.buckets[STORE].items() if name.startswith("models/aa/")}
    assert canonical_digest(json.loads(own["models/aa/manifest.json"])) == canonical_digest(MANIFEST)
    assert list(own)[-1] == "models/aa/manifest.json", "the seal comes last"


def test_a_signature_goes_with_the_model_though_no_manifest_lists_it_and_a_later_one_follows(google):
    digest, signature = canonical_digest(MANIFEST), "models/aa/signature.json"
    google.buckets[STORE][signature] = b'{"key": "1"}'
    promotion.fetch(Storage(), wanted(digest))
    own = google.buckets["prod"]
    assert own[signature] == b'{"key": "1"}'
    assert list(own)[-1] == "models/aa/manifest.json", "the seal comes last"
    google.buckets[STORE][signature] = b'{"key": "2"}'
    promotion.fetch(Storage(), wanted(digest))
    assert own[signature] == b'{"key": "2"}'


def test_what_is_there_is_not_copied_again(google):
    promotion.fetch(Storage(), wanted(canonical_digest(MANIFEST)))
    google.calls.clear()
    promotion.fetch(Storage(), wanted(canonical_digest(MANIFEST)))
    assert "storage.objects.rewrite" not in google.calls


def test_a_digest_that_no_model_has_is_told_with_where_it_was_looked_for(google):
    with pytest.raises(StageFailed, match=f"no model in gs://{STORE} has the digest sha256:0; 2 models are there"):
        promotion.fetch(Storage(), wanted("sha256:0"))


PROTECTED = ("flow-serve-server-service", "flow-store-bucket", "penstock-prod-guard-bucket")
"""What of prod is there until it is named."""


def test_prod_as_its_file_stands_serves_what_it_is_told_by_digest_and_goes_when_all_that_is_protected_is_named(
    make_environment, google, policed
):
    """Promoted, promoted again, rolled back; then not destroyed, and after the steps of docs/gcp.md to nothing left."""
    digest = canonical_digest(MANIFEST)
    prod = make_environment("prod", model=digest)
    prod.run("up", "--yes", "--skip-preview", "--stack", "prod", STORAGE_EMULATOR_HOST=google.url)
    (service,) = (r for r in prod.cloud.existing().values() if r["type"] == "gcp:cloudrunv2/service:Service")
    arguments = service["inputs"]["template"]["containers"][0]["args"]
    assert arguments[:2] == ["--model", "/artifacts/models/aa"]
    assert arguments[arguments.index("--expect-digest") + 1] == digest
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
    assert f"no model in gs://{STORE} has the digest {nobody}" in said
    assert file.read_text() == before, "a model that is nowhere changes no line"

    said = prod.operate("promote", other, "--up", STORAGE_EMULATOR_HOST=google.url)
    assert f"gcp.model is {other} (it was {digest})" in said
    assert f"gs://{STORE}/models/bb is copied here and answers" in said
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

    around = {"STORAGE_EMULATOR_HOST": google.url, verdict.EMULATOR: google.url}
    said = prod.make("down", expected=1, **around)
    assert f"nothing was removed, as the stack protects {', '.join(PROTECTED)}: to remove all of it" in said
    said = prod.run("destroy", "--yes", "--stack", "prod", expected=1, **around)
    assert "cannot be deleted" in said, "the engine refuses by hand too, when it plans"
    assert prod.cloud.calls("delete") == []
    # The page's own commands; and models are verified from now on.
    page = PAGE.read_text(encoding="utf-8")
    commands = re.findall(r"^    pulumi (config set --path 'gcp\.approve_.+)$", page, re.MULTILINE)
    assert len(commands) == len(PROTECTED)
    for command in commands:
        prod.run(*shlex.split(command))
    (prod.folder / "verifying.pem").write_text("PUBLIC")
    prod.run("config", "set", "verify_key", "verifying.pem", "--stack", "prod")
    prod.up(*policed, **around)
    (service,) = (r for r in prod.cloud.existing().values() if r["type"] == "gcp:cloudrunv2/service:Service")
    arguments = service["inputs"]["template"]["containers"][0]["args"]
    assert arguments[arguments.index("--verify-key") + 1] == "/keys/verifying.pem"
    assert "penstock-prod-example: nothing left" in prod.make("down", **around)
    assert prod.cloud.existing() == {}
