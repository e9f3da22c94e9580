"""What keeps a server from starting: one line, exit code 2, and the thing that is wrong by its name."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from penstock_trainer.artifacts import Manifest, seal
from penstock_trainer.signing import SigningKey


@pytest.fixture
def copy(models: Path, tmp_path: Path) -> Path:
    """A copy of the model `flights`, to be spoilt."""
    return Path(shutil.copytree(models / "flights", tmp_path / "flights"))


def reseal(model: Path) -> None:
    """Seal a changed model anew, as one would who forges it."""
    inputs = Manifest.read(model).inputs
    seal(model, kind="model", inputs=inputs, code="sha256:0")


@pytest.mark.parametrize(
    "file", ["saved_model/variables/variables.data-00000-of-00001", "schema.json", "lineage/raw.json"]
)
def test_a_tampered_file_is_refused_by_its_name(copy, refused, file):
    with (copy / file).open("ab") as tampered:
        tampered.write(b" ")
    assert f"{copy / file} has digest sha256:" in refused(copy)


def test_a_file_added_or_removed_is_refused_by_its_name(copy, refused):
    (copy / "saved_model" / "more.pb").touch()
    assert f"{copy / 'saved_model' / 'more.pb'} is not listed" in refused(copy)
    (copy / "saved_model" / "more.pb").unlink()
    (copy / "samples.json").unlink()
    assert f"{copy / 'samples.json'} is missing" in refused(copy)


def test_another_model_than_expected_is_refused(models, refused):
    digest = "sha256:" + "0" * 64
    said = refused(models / "flights", "--expect-digest", digest)
    assert Manifest.read(models / "flights").digest in said
    assert f"expected was {digest}" in said


def test_a_model_is_served_only_with_the_signature_of_the_key_s_owner(copy, refused, serve, tmp_path):
    pem, pub = tmp_path / "signing.pem", tmp_path / "verifying.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", pem], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", pem, "-pubout", "-out", pub], check=True, capture_output=True)
    assert f"{copy} is not signed" in refused(copy, "--verify-key", str(pub))
    SigningKey(pem).sign(copy, Manifest.read(copy))
    signature = json.loads((copy / "signature.json").read_text())
    (copy / "signature.json").write_text(json.dumps(signature | {"signature": "AAAA"}))
    assert "is no signature of sha256:" in refused(copy, "--verify-key", str(pub))
    (copy / "signature.json").write_text(json.dumps(signature))
    server = serve("flights", "--verify-key", str(pub), model=copy).wait_until_ready()
    assert server.end() == 0
    with (copy / "schema.json").open("ab") as tampered:
        tampered.write(b" ")
    assert f"{copy / 'schema.json'} has digest" in refused(copy, "--verify-key", str(pub))


def test_a_broken_chain_is_refused_though_every_file_is_sealed(copy, refused):
    raw = json.loads((copy / "lineage" / "raw.json").read_text())
    (copy / "lineage" / "raw.json").write_text(json.dumps(raw | {"counts": {"rows": 1}}))
    reseal(copy)
    assert "the dataset was made from raw sha256:" in refused(copy)
    (copy / "lineage" / "raw.json").unlink()
    reseal(copy)
    assert "the dataset was made from a raw whose manifest lineage/ lacks" in refused(copy)


def test_a_model_that_does_not_give_the_trainers_answers_is_refused(copy, refused):
    samples = json.loads((copy / "samples.json").read_text())
    samples["predictions"][1] += 0.01
    (copy / "samples.json").write_text(json.dumps(samples))
    reseal(copy)
    assert "sample row 1 gives 0." in refused(copy)


def test_a_directory_that_is_no_model_is_refused(tmp_path, refused):
    assert f"{tmp_path} is no sealed artifact: it has no manifest.json" in refused(tmp_path)
    seal(tmp_path, kind="dataset", inputs={}, code="sha256:0")
    assert f"{tmp_path} is a sealed dataset, not a model" in refused(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    assert "manifest.json is not a manifest" in refused(tmp_path)


def test_a_used_port_is_refused(models, refused, taken_port):
    said = refused(models / "flights", port=taken_port)
    assert f"cannot listen on 127.0.0.1:{taken_port}: " in said
    assert "choose another --port" in said


def test_a_command_line_that_makes_no_sense_is_refused(models, refused):
    model = models / "flights"
    assert "--name is 'a/b', expected letters, digits" in refused(model, name="a/b")
    assert "--expect-digest is 'sha256:1', expected sha256: and 64" in refused(model, "--expect-digest", "sha256:1")
    assert "unrecognized arguments: --colour" in refused(model, "--colour")
    assert "--port is 99999, expected 0 (any free one) to 65535" in refused(model, port=99999)
