import json
import os

import pytest

from penstock_trainer import artifacts
from penstock_trainer.artifacts import Manifest, building, find, seal, verify
from penstock_trainer.errors import InputError


def make(root, key="k", content=b"rows"):
    with building(root, "dataset", key) as directory:
        (directory / "part").mkdir()
        (directory / "part" / "a.bin").write_bytes(content)
        return seal(directory, kind="dataset", inputs={"raw": "sha256:0"}, code="sha256:1", counts={"rows": 1})


def test_a_sealed_artifact_verifies_and_its_digest_is_that_of_what_was_sealed(tmp_path):
    manifest = make(tmp_path)
    assert verify(tmp_path / "dataset" / "k").digest == manifest.digest
    assert manifest.files == {"part/a.bin": artifacts.file_digest(tmp_path / "dataset/k/part/a.bin")}


def test_the_digest_is_the_sha256_of_the_canonical_manifest(tmp_path):
    make(tmp_path)
    fields = json.loads((tmp_path / "dataset/k/manifest.json").read_text())
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    import hashlib

    assert verify(tmp_path / "dataset/k").digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("harm", ["changed", "removed", "added", "no manifest", "torn manifest"])
def test_an_artifact_that_was_touched_is_refused_by_the_file_s_name_and_never_reused(tmp_path, harm):
    make(tmp_path)
    directory = tmp_path / "dataset" / "k"
    file, manifest = directory / "part" / "a.bin", directory / "manifest.json"
    named = "a.bin"
    if harm == "changed":
        file.write_bytes(b"Rows")
    elif harm == "removed":
        file.unlink()
    elif harm == "added":
        (directory / "b.bin").touch()
        named = "b.bin"
    elif harm == "no manifest":
        manifest.unlink()
        named = "manifest.json"
    else:
        os.truncate(manifest, 20)
        named = "manifest.json"
    with pytest.raises(InputError, match=named):
        verify(directory)
    assert find(tmp_path, "dataset", "k") is None


def test_a_run_that_breaks_off_leaves_nothing_under_the_artifact_s_name_and_the_next_one_succeeds(tmp_path):
    class Killed(BaseException):
        pass

    def break_off():
        with building(tmp_path, "dataset", "k") as directory:
            (directory / "half").write_bytes(b"half")
            raise Killed

    with pytest.raises(Killed):
        break_off()
    assert find(tmp_path, "dataset", "k") is None
    make(tmp_path)
    assert verify(tmp_path / "dataset/k").files.keys() == {"part/a.bin"}


def test_a_chain_in_which_a_link_was_exchanged_is_refused(tmp_path):
    dataset = make(tmp_path)
    with building(tmp_path, "model", "m") as directory:
        (directory / "lineage").mkdir()
        other = Manifest(kind="dataset", files={}, inputs={}, code="")
        (directory / "lineage" / "dataset.json").write_text(json.dumps(vars(other)))
        seal(directory, kind="model", inputs={"dataset": dataset.digest}, code="")
    with pytest.raises(InputError, match=dataset.digest):
        artifacts.verify_lineage(tmp_path / "models" / "m")
