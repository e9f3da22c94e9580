"""Which directories are sealed models, and which are refused."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from penstock_serving.seal import SealedModel
from penstock_trainer.artifacts import Manifest, seal
from penstock_trainer.errors import InputError

SCHEMA: dict[str, Any] = {
    "name": "m",
    "head": "regression",
    "label": "y",
    "columns": [{"name": "x", "type": "number", "required": True}],
    "ignored": [],
}
SAMPLES: dict[str, Any] = {"instances": [{"x": 1.0}], "predictions": [2.0]}


def sealed(directory: Path, schema: Any = SCHEMA, samples: Any = SAMPLES) -> Manifest:
    """Seal a model made of these two files and the manifests of a raw and a dataset."""
    raw = Manifest(kind="raw", files={}, inputs={}, code="sha256:0")
    dataset = Manifest(kind="dataset", files={}, inputs={"raw": raw.digest}, code="sha256:0")
    (directory / "lineage").mkdir(exist_ok=True)
    for manifest in (raw, dataset):
        (directory / "lineage" / f"{manifest.kind}.json").write_text(json.dumps(asdict(manifest)))
    (directory / "schema.json").write_text(json.dumps(schema))
    (directory / "samples.json").write_text(json.dumps(samples))
    return seal(
        directory, kind="model", inputs={"dataset": dataset.digest}, code="sha256:0", metrics={"test": {"mae": 1}}
    )


def test_a_sealed_model_has_its_digest_its_chain_and_its_schema(tmp_path):
    manifest = sealed(tmp_path)
    model = SealedModel.open(tmp_path, manifest.digest)
    assert model.digest == manifest.digest
    assert set(model.chain) == {"model", "dataset", "raw"}
    assert model.schema.names == ("x",)
    assert model.metrics == {"test": {"mae": 1}}


def test_a_manifest_of_the_wrong_shape_is_an_input_error(tmp_path):
    sealed(tmp_path)
    for spoilt in (
        "[]",
        '{"kind": "model"}',
        '{"format": 1, "kind": "model", "files": 3, "inputs": {}, "code": ""}',
        "\xff",
    ):
        (tmp_path / "manifest.json").write_text(spoilt, encoding="latin-1")
        with pytest.raises(InputError, match=r"manifest|sealed model"):
            SealedModel.open(tmp_path)


def test_a_sealed_but_garbled_lineage_is_an_input_error(tmp_path):
    inputs = sealed(tmp_path).inputs
    for spoilt in ("{", "[]", '{"kind": "raw"}'):
        (tmp_path / "lineage" / "raw.json").write_text(spoilt)
        seal(tmp_path, kind="model", inputs=inputs, code="sha256:0")
        with pytest.raises(InputError, match=r"raw\.json is not a manifest"):
            SealedModel.open(tmp_path)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({**SCHEMA, "columns": []}, "it has no columns"),
        ({**SCHEMA, "ignored": ["x"]}, "'x' is named twice"),
        ({**SCHEMA, "columns": [{"name": "x", "type": "date", "required": True}]}, "'date' is not a valid ColumnType"),
        ({"name": "m"}, "'columns' is missing"),
        ([], "schema.json is not a schema"),
    ],
)
def test_a_schema_that_makes_no_sense_is_refused(tmp_path, schema, said):
    sealed(tmp_path, schema=schema)
    with pytest.raises(InputError, match=said):
        SealedModel.open(tmp_path)


@pytest.mark.parametrize(
    "samples", [{"instances": []}, {"instances": [], "predictions": []}, {"instances": [{}], "predictions": [1, 2]}, 5]
)
def test_samples_without_an_answer_each_are_refused(tmp_path, samples):
    sealed(tmp_path, samples=samples)
    with pytest.raises(InputError, match=r"samples\.json does not hold"):
        SealedModel.open(tmp_path)
