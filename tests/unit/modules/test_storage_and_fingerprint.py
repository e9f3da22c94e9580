import json
import os

import pytest

from penstock.errors import PenstockError
from penstock.local import fingerprint, storage


def artifact(root, kind, key, sealed=True):
    folder = root / "artifacts" / kind / key
    folder.mkdir(parents=True)
    (folder / "rows").write_text("1")
    if sealed:
        (folder / "manifest.json").write_text(json.dumps({"kind": kind}))
    return folder


def test_removing_a_stack_keeps_the_sealed_artifacts_of_the_kinds_to_keep_and_nothing_else(tmp_path):
    kept = artifact(tmp_path, "raw", "a")
    artifact(tmp_path, "raw", "half-written", sealed=False)
    artifact(tmp_path, "dataset", "b")
    (tmp_path / "logs").mkdir()
    storage.remove(tmp_path, ["raw", "models"])
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {kept / "rows", kept / "manifest.json"}


def test_removing_a_stack_that_keeps_nothing_leaves_nothing(tmp_path):
    artifact(tmp_path / "local", "raw", "a")
    storage.remove(tmp_path / "local", [])
    assert not (tmp_path / "local").exists()


def test_a_folder_that_cannot_be_looked_into_is_no_reason_to_remove_what_is_outside_it(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("1")
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "link").symlink_to(outside)
    storage.remove(tmp_path / "local", [])
    assert (outside / "precious").exists()


def test_a_changed_file_changes_the_fingerprint_and_a_touched_small_one_does_not(tmp_path):
    file = tmp_path / "problem.py"
    file.write_text("a = 1")
    before = fingerprint.of_files(["problem.py"], tmp_path)
    os.utime(file, (1, 1))
    assert fingerprint.of_files(["problem.py"], tmp_path) == before
    file.write_text("a = 2")
    assert fingerprint.of_files(["problem.py"], tmp_path) != before


def test_a_large_file_counts_by_size_and_time(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "READ_WHOLE_BYTES", 10)
    file = tmp_path / "raw.csv"
    file.write_text("x" * 20)
    os.utime(file, (1, 1))
    before = fingerprint.of_files(["*.csv"], tmp_path)
    os.utime(file, (2, 2))
    assert fingerprint.of_files(["*.csv"], tmp_path) != before


def test_raw_files_that_are_not_there_are_told_by_their_pattern(tmp_path):
    with pytest.raises(PenstockError, match=r"no file matches 'data/\*.csv'"):
        fingerprint.of_files(["data/*.csv"], tmp_path)


def test_the_digest_of_an_artifact_is_that_of_its_canonical_manifest(tmp_path):
    (tmp_path / "manifest.json").write_text('{ "b": 1,\n "a": "é" }')
    # sha256 of {"a":"é","b":1}
    expected = "sha256:" + __import__("hashlib").sha256('{"a":"é","b":1}'.encode()).hexdigest()
    assert fingerprint.manifest_digest(tmp_path) == expected
    (tmp_path / "manifest.json").write_text('{ "b": 1,')
    assert fingerprint.manifest_digest(tmp_path) is None
