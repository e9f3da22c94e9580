"""The OpenAPI document, from nothing but the model's own schema."""

from pathlib import Path

import pytest

from penstock_serving.openapi import openapi
from penstock_serving.seal import SealedModel
from penstock_serving.served import ServedModel
from penstock_trainer.artifacts import Manifest
from penstock_trainer.errors import InputError

ROW = {"distance": 1400.5, "month": 1, "carrier": "UA", "tailnum": "N14228"}


class NoBackend:
    """Never asked."""

    name = "fake"
    quick_rows = 0

    def load(self, model) -> None:
        raise AssertionError

    def predict(self, columns) -> list[float]:
        raise AssertionError


@pytest.fixture
def sealed(schema) -> SealedModel:
    """A model with that schema and one sample row."""
    manifest = Manifest(kind="model", files={}, inputs={}, code="sha256:0")
    samples = {"instances": [ROW], "predictions": [0.5]}
    return SealedModel(Path("nowhere"), manifest.digest, {"model": manifest}, schema, samples)


def test_a_row_is_described_as_the_decoder_takes_it(sealed):
    row = openapi(ServedModel("flights", sealed, NoBackend()))["components"]["schemas"]["Row"]
    assert row["required"] == ["distance", "month", "carrier"]
    assert row["additionalProperties"] is False
    assert row["properties"]["carrier"] == {"type": "string"}
    assert row["properties"]["engine"] == {"type": ["string", "null"]}
    assert row["properties"]["month"] == {"type": "integer", "minimum": -(2**24), "maximum": 2**24}
    assert row["properties"]["temp °F"]["type"] == ["number", "null"]
    assert "type" not in row["properties"]["tailnum"]
    assert row["examples"] == [ROW]


def test_every_reference_leads_to_a_schema(sealed):
    document = openapi(ServedModel("flights", sealed, NoBackend()))

    def references(value) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(references, value))
        if isinstance(value, dict):
            own = {value["$ref"]} if "$ref" in value else set()
            return own.union(*map(references, value.values()))
        return set()

    assert references(document) == {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def test_sample_rows_that_do_not_fit_the_schema_are_refused(sealed):
    sealed.samples["instances"][0] = {**ROW, "month": "January"}
    with pytest.raises(
        InputError, match=r"samples\.json does not fit schema\.json: row 0, column 'month': \"January\""
    ):
        ServedModel("flights", sealed, NoBackend())
