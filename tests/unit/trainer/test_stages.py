"""What a stage leaves behind beside its artifact."""

import json

from penstock_trainer.stages import RESULT_BYTES, Stage

from .conftest import run


def test_a_result_file_that_is_there_already_keeps_its_place(tmp_path, artifacts, raw):
    mounted = tmp_path / "result.json"
    mounted.write_text("x" * 10_000)
    place = mounted.stat().st_ino
    flags = ("--problem", "flights", "--artifacts", artifacts, "--rows", 6000, "--shards", 2)
    again = run("raw", *flags, folder=tmp_path)
    assert again.reused
    assert mounted.stat().st_ino == place
    assert json.loads(mounted.read_text())["digest"] == raw.digest


def test_a_result_is_no_longer_than_a_kubelet_keeps_of_it_and_the_artifact_has_everything(tmp_path, monkeypatch):
    """A thousand workers, each with its steps."""
    stage = Stage("model", tmp_path, {}, {}, "sha256:0")
    steps = {f"worker-{index}": 10_000 for index in range(1000)}
    metrics = {"test": {"auc": 0.75}, "training": {"steps": steps}}
    stage.path.mkdir(parents=True)
    (stage.path / "weights").write_text("")
    manifest = stage.seal(stage.path, counts={"rows": 6000}, metrics=metrics)
    told = tmp_path / "result.json"
    monkeypatch.setenv("PENSTOCK_RESULT", str(told))
    stage.report(manifest, reused=False)
    assert len(told.read_bytes()) <= RESULT_BYTES
    result = json.loads(told.read_bytes())
    assert (result["digest"], result["counts"]) == (manifest.digest, {"rows": 6000})
    assert result["metrics"] == {"test": {"auc": 0.75}}
    assert manifest.metrics == metrics
