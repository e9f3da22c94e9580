"""What a server says about its model: status and signature as TensorFlow Serving says them, and the seal."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from penstock_serving.schema import OUTPUT, SIGNATURE, STRINGS
from penstock_serving.seal import SealedModel
from penstock_serving.served import ServedModel
from penstock_serving.versions import Versions


def status(versions: Sequence[ServedModel], refused: Mapping[str, str] | None) -> dict[str, Any]:
    """TensorFlow Serving's GetModelStatusResponse; `refused` is a version that could not be loaded, and why."""

    def one(version: str, state: str, code: str = "OK", message: str = "") -> dict[str, Any]:
        return {"version": version, "state": state, "status": {"error_code": code, "error_message": message}}

    found = [one(each.version, "AVAILABLE" if each.available else "LOADING") for each in versions]
    if refused:
        found.append(one(refused["version"], "END", "FAILED_PRECONDITION", refused["error"]))
    return {"model_version_status": found}


def traffic(versions: Versions, beyond: Mapping[str, Any]) -> dict[str, Any]:
    """Which version answers how much of the traffic, and why; `beyond` is what the server's supervisor knows."""
    routes, whole = versions.routes, sum(versions.routes.weights.values())
    return {
        "name": versions.name,
        "versions": {
            each.version: {
                "digest": each.sealed.digest,
                "share": routes.weights.get(each.version, 0) / whole,
                "shadow": each.version == routes.shadow,
            }
            for each in versions
        },
        "comparison": versions.shadow.comparison.summary() if versions.shadow else None,
        **beyond,
    }


def metadata(served: ServedModel) -> dict[str, Any]:
    """TensorFlow Serving's GetModelMetadataResponse: the signature, one tensor of shape [rows] a column; of several
    classes the answer's is [rows, classes].
    """
    classes = served.sealed.schema.classes

    def tensor(dtype: str, name: str, each: Sequence[int] = ()) -> dict[str, Any]:
        shape = {"dim": [{"size": str(size), "name": ""} for size in (-1, *each)], "unknown_rank": False}
        return {"dtype": dtype, "tensor_shape": shape, "name": name}

    inputs = {
        column.name: tensor("DT_STRING" if column.type in STRINGS else "DT_FLOAT", f"{SIGNATURE}_{column.name}:0")
        for column in served.sealed.schema.columns
    }
    signature = {
        "inputs": inputs,
        "outputs": {OUTPUT: tensor("DT_FLOAT", "StatefulPartitionedCall:0", [len(classes)] if classes else [])},
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
        "backend": served.backend,
        "chain": [
            {"kind": kind, "digest": manifest.digest, "manifest": asdict(manifest)}
            for kind, manifest in _from_model_to_raw(served.sealed)
        ],
    }


def _from_model_to_raw(sealed: SealedModel) -> list[tuple[str, Any]]:
    return [(kind, sealed.chain[kind]) for kind in ("model", "study", "dataset", "raw") if kind in sealed.chain]
