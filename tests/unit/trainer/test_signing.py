import json
import shutil
import subprocess
from pathlib import Path

import pytest

from penstock_trainer import verifying
from penstock_trainer.__main__ import main
from penstock_trainer.artifacts import Manifest, building, seal, verify
from penstock_trainer.errors import InputError
from penstock_trainer.signing import SigningKey, VerifyingKey

from .conftest import run


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """Two pairs of keys as the documentation makes them: <name>.pem, <name>.pub."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        made = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", folder / f"{name}.pem"]
        subprocess.run(made, check=True, capture_output=True)
        public = ["openssl", "pkey", "-in", folder / f"{name}.pem", "-pubout", "-out", folder / f"{name}.pub"]
        subprocess.run(public, check=True, capture_output=True)
    subprocess.run(["openssl", "genrsa", "-out", folder / "rsa.pem", "2048"], check=True, capture_output=True)
    return folder


@pytest.fixture
def signed(tmp_path, keys):
    """A sealed dataset with its raw files' manifest behind it, signed."""
    raw = Manifest(kind="raw", files={"a.csv": "sha256:1", "b.csv": "sha256:2"}, inputs={}, code="", counts={"rows": 7})
    with building(tmp_path, "dataset", "k") as directory:
        (directory / "part").write_text("rows")
        (directory / "lineage").mkdir()
        (directory / "lineage" / "raw.json").write_text(json.dumps(vars(raw)))
        manifest = seal(directory, kind="dataset", inputs={"raw": raw.digest}, code="", counts={"rows": 7})
        SigningKey(keys / "mine.pem").sign(directory, manifest)
    return tmp_path / "dataset" / "k"


def test_a_signed_artifact_verifies_as_before_and_under_its_key(signed, keys):
    VerifyingKey(keys / "mine.pub").check(signed, verify(signed))


def test_another_s_signature_is_refused_by_both_keys_names(signed, keys):
    mine, other = SigningKey(keys / "mine.pem"), VerifyingKey(keys / "other.pub")
    with pytest.raises(InputError, match=f"signed by key {mine.fingerprint}, expected was {other.fingerprint}"):
        other.check(signed, verify(signed))


def test_who_claims_another_s_key_is_found_out(signed, keys):
    SigningKey(keys / "other.pem").sign(signed, verify(signed))
    forged = json.loads((signed / "signature.json").read_text())
    forged["key"] = SigningKey(keys / "mine.pem").fingerprint
    (signed / "signature.json").write_text(json.dumps(forged))
    with pytest.raises(InputError, match="is no signature of sha256:"):
        VerifyingKey(keys / "mine.pub").check(signed, verify(signed))


def test_a_signature_does_not_outlive_a_change_that_was_sealed_anew(signed, keys):
    (signed / "part").write_text("other rows")
    seal(signed, kind="dataset", inputs=Manifest.read(signed).inputs, code="", counts={"rows": 7})
    with pytest.raises(InputError, match="is no signature of"):
        VerifyingKey(keys / "mine.pub").check(signed, verify(signed))


@pytest.mark.parametrize("spoilt", [None, "{", "[]", '{"key": "k"}', '{"key": "k", "signature": "not base64"}'])
def test_a_missing_or_garbled_signature_is_refused(signed, keys, spoilt):
    (signed / "signature.json").unlink()
    if spoilt is not None:
        (signed / "signature.json").write_text(spoilt)
    with pytest.raises(InputError, match=r"is not signed|is not a signature"):
        VerifyingKey(keys / "mine.pub").check(signed, verify(signed))


@pytest.mark.parametrize("name", ["rsa.pem", "mine.pub", "none.pem"])
def test_a_file_that_is_no_such_key_is_refused_without_showing_what_is_in_it(keys, name):
    with pytest.raises(InputError, match=name) as refused:
        SigningKey(keys / name)
    held = (keys / name).read_text().splitlines()[1:-1] if name != "none.pem" else []
    assert not any(line in str(refused.value) for line in held)
    with pytest.raises(InputError, match=r"rsa\.pem"):
        VerifyingKey(keys / "rsa.pem")


def test_verify_prints_the_chain_back_to_the_raw_files(signed, keys, capsys):
    assert main(["verify", str(signed), "--key", str(keys / "mine.pub")]) == 0
    lines = capsys.readouterr().out.splitlines()
    manifest = Manifest.read(signed)
    assert lines[0] == f"dataset {manifest.digest}, 7 rows"
    assert lines[1] == f"  raw {manifest.inputs['raw']}, 7 rows"
    assert lines[2:4] == ["    a.csv sha256:1", "    b.csv sha256:2"]
    assert f"signed by {VerifyingKey(keys / 'mine.pub').fingerprint}" in lines[4]


def test_verify_names_everything_that_does_not_match(signed, keys, capsys):
    (signed / "part").write_text("changed")
    (signed / "added").touch()
    (signed / "lineage" / "raw.json").write_text(json.dumps(vars(Manifest(kind="raw", files={}, inputs={}, code=""))))
    assert main(["verify", str(signed), "--key", str(keys / "other.pub")]) == 2
    said = capsys.readouterr()
    assert f"{signed / 'added'} is not listed" in said.out
    assert f"{signed / 'part'} has digest" in said.out
    assert f"{signed / 'lineage/raw.json'} has digest" in said.out
    assert "the dataset was made from raw" in said.out
    assert "is signed by key" in said.out
    assert said.err == f"error: {signed} does not hold; things that do not match: 5\n"


def test_an_artifact_can_be_signed_later_but_not_when_it_was_tampered_with(signed, keys):
    (signed / "signature.json").unlink()
    verifying.sign(signed, keys / "other.pem")
    VerifyingKey(keys / "other.pub").check(signed, verify(signed))
    (signed / "part").write_text("changed")
    with pytest.raises(InputError, match="part has digest"):
        verifying.sign(signed, keys / "mine.pem")


def test_by_the_command_line_a_training_signs_its_model_and_sign_does_it_later(
    artifacts, dataset, study, model, keys, tmp_path, capsys
):
    sealed = tmp_path / Path(model.path).relative_to(artifacts.resolve())
    shutil.copytree(model.path, sealed)
    flags = ("--problem", "flights", "--dataset", dataset.path, "--study", study.path, "--epochs", 2)
    signing = ("--artifacts", tmp_path, "--sign-key", keys / "mine.pem")
    found = run("train", *flags, *signing, folder=tmp_path)
    assert (found.reused, found.digest) == (True, model.digest)
    verifying_by = {name: ["verify", str(sealed), "--key", str(keys / f"{name}.pub")] for name in ("mine", "other")}
    assert (main(verifying_by["mine"]), main(verifying_by["other"])) == (0, 2)
    assert main(["sign", str(sealed), "--key", str(keys / "other.pem")]) == 0
    said = f"model {model.digest} signed by {VerifyingKey(keys / 'other.pub').fingerprint}"
    assert said in capsys.readouterr().out.splitlines()
    assert (main(verifying_by["mine"]), main(verifying_by["other"])) == (2, 0)
