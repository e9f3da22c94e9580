"""What a server says about its model: status and signature as TensorFlow Serving says them, and the seal."""

from dataclasses import asdict
from typing import Any

from penstock_serving.schema import OUTPUT, SIGNATURE, ColumnType
from penstock_serving.seal import SealedModel
from penstock_serving.served import ServedModel


def status(served: ServedModel) -> dict[str, Any]:
    """TensorFlow Serving's GetModelStatusResponse."""
    state = "AVAILABLE" if served.available else "LOADING"
    no_error = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": served.version, "state": state, "status": no_error}]}


def metadata(served: ServedModel) -> dict[str, Any]:
    """TensorFlow Serving's GetModelMetadataResponse: the signature, one tensor of shape [rows] a column."""

    def tensor(dtype: str, name: str) -> dict[str, Any]:
        shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
        return {"dtype": dtype, "tensor_shape": shape, "name": name}

    inputs = {
        column.name: tensor(
            "DT_STRING" if column.type is ColumnType.CATEGORY else "DT_FLOAT", f"{SIGNATURE}_{column.name}:0"
        )
        for column in served.sealed.schema.columns
    }
    signature = {
        "inputs": inputs,
        "outputs": {OUTPUT: tensor("DT_FLOAT", "StatefulPartitionedCall:0")},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": served.name, "signature_name": "", "version": served.version},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    }


def attestation(served: ServedModel) -> dict[str, Any]:
    """The digest of what is served and the verified chain behind it, from the model down to the raw files.

    A reader checks it alone: a manifest's digest is the SHA-256 of its canonical JSON, and each one's `inputs` name the
    digests of those it was made from.
    """
    return {
        "name": served.name,
        "version": served.version,
        "digest": served.sealed.digest,
        "chain": [
            {"kind": kind, "digest": manifest.digest, "manifest": asdict(manifest)}
            for kind, manifest in _from_model_to_raw(served.sealed)
        ],
    }


def _from_model_to_raw(sealed: SealedModel) -> list[tuple[str, Any]]:
    return [(kind, sealed.chain[kind]) for kind in ("model", "study", "dataset", "raw") if kind in sealed.chain]
