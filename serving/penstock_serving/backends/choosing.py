"""Which backend answers: the slim one where the seal proves it equal to the SavedModel, else TensorFlow."""

from importlib.util import find_spec

from penstock_serving.backends import Backend
from penstock_serving.backends.saved_model import SavedModelBackend
from penstock_serving.backends.slim import SlimBackend
from penstock_serving.seal import SealedModel
from penstock_trainer.artifacts import folder_digest
from penstock_trainer.errors import InputError
from penstock_trainer.slim import FOLDER

BACKENDS = ("auto", "slim", "tensorflow")


def choose_backend(sealed: SealedModel, wanted: str = "auto") -> Backend:
    """The backend for a model; `wanted` is one of BACKENDS.

    Raises:
        InputError: it is not to be had for this model, or not in this environment.
    """
    unproven = why_unproven(sealed)
    if wanted == "slim" or (wanted == "auto" and unproven is None):
        if unproven is not None:
            raise InputError(f"{sealed.directory} cannot be served by the slim backend: {unproven}")
        return SlimBackend()
    if find_spec("tensorflow") is None:
        why = "as asked" if wanted == "tensorflow" else unproven
        raise InputError(
            f"{sealed.directory} is served by TensorFlow ({why}), which this environment lacks:"
            " install serving/requirements-tensorflow.txt, or build the image with it"
        )
    return SavedModelBackend()


def why_unproven(sealed: SealedModel) -> str | None:
    """Why the seal does not prove that the slim form answers as the SavedModel does; None if it does."""
    manifest = sealed.chain["model"]
    proof = manifest.metrics.get("slim")
    if not isinstance(proof, dict):
        return "the model has no slim form"
    if "reason" in proof:
        return str(proof["reason"])
    for folder in ("saved_model", FOLDER):
        if proof.get(folder) != folder_digest(manifest.files, folder):
            return f"the proof is of another {folder}/ than the sealed one"
    difference, tolerance = proof.get("max_difference"), proof.get("tolerance")
    # Earlier releases proved the test rows and said no splits.
    for split, rows in proof.get("splits", {"test": proof.get("rows")}).items():
        if not rows or rows != manifest.counts.get(split):
            return f"the proof is of {rows} rows, the {split} split has {manifest.counts.get(split)}"
    if not isinstance(difference, float) or not isinstance(tolerance, float) or not difference <= tolerance:
        return f"the proof found a difference of {difference}, over {tolerance}"
    return None
