"""Our own requests to Cloud Storage: against Google's description of them, and against a real emulator."""

import json

import loopback
import pytest
import requests

from penstock.gcp import promotion
from penstock.gcp.storage_api import Storage
from penstock.local.fingerprint import canonical_digest

MANIFEST = {"format": 1, "kind": "model", "files": {"schema.json": "sha256:1", "saved_model/a b.pb": "sha256:2"}}
FILES = {"schema.json": b"{}", "saved_model/a b.pb": b"\0model"}


@pytest.fixture(params=["described", "emulator"])
def put(request, monkeypatch):
    """Puts an object into a bucket, where the API then looks."""
    if request.param == "emulator":
        url = request.getfixturevalue("emulator")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)

        def upload(bucket, name, content):
            query = {"uploadType": "media", "name": name}
            requests.post(f"{url}/upload/storage/v1/b/{bucket}/o", params=query, data=content, timeout=30)

        yield upload
        for bucket in ("staging", "prod"):
            for name in Storage().names(bucket, ""):
                Storage().delete(bucket, name)
        return
    with loopback.serving() as google:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.url)
        google.buckets = {"staging": {}, "prod": {}}
        yield lambda bucket, name, content: google.buckets[bucket].__setitem__(name, content)


def test_what_is_written_is_read_and_listed_by_how_it_begins_and_gone_once_deleted(put):
    storage = Storage()
    put("staging", "models/a/manifest.json", b'{"a": 1}')
    storage.write("staging", "control/no new trials.json", {"since": "now"})
    assert storage.json("staging", "models/a/manifest.json") == {"a": 1}
    assert storage.json("staging", "control/no new trials.json") == {"since": "now"}
    assert storage.json("staging", "models/b/manifest.json") is None
    assert storage.names("staging", "control/") == ["control/no new trials.json"]
    assert sorted(storage.names("staging", "")) == ["control/no new trials.json", "models/a/manifest.json"]
    assert storage.delete("staging", "control/no new trials.json")
    assert not storage.delete("staging", "control/no new trials.json")
    assert storage.names("staging", "control/") == []


def test_a_model_is_carried_to_another_bucket_whole(put):
    for name, content in {**FILES, "manifest.json": json.dumps(MANIFEST).encode()}.items():
        put("staging", f"models/aa/{name}", content)
    wanted = {"digest": canonical_digest(MANIFEST), "source": "staging", "target": "prod"}
    storage = Storage()
    for _ in range(2):
        assert promotion.fetch(storage, wanted) == "models/aa"
    assert sorted(storage.names("prod", "models/")) == sorted(storage.names("staging", "models/"))
    assert canonical_digest(storage.json("prod", "models/aa/manifest.json")) == wanted["digest"]
