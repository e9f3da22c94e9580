"""Signatures: who sealed an artifact, by an Ed25519 key of theirs.

A seal says that nothing was changed since; anybody can make one. `signature.json` beside the manifest says whose it is:
it signs the manifest's digest, hence every file and the chain behind it. Keys are PEM files:

    openssl genpkey -algorithm ed25519 -out signing.pem
    openssl pkey -in signing.pem -pubout -out verifying.pem
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from penstock_trainer.artifacts import SIGNATURE, Manifest, write_atomically
from penstock_trainer.errors import InputError

FORMAT = 1
ALGORITHM = "ed25519"
PURPOSE = b"penstock artifact 1\n"  # so that no signature made for something else is taken for one of these


class SigningKey:
    """A private key.

    Raises:
        InputError: the file holds no unencrypted Ed25519 private key.
    """

    def __init__(self, path: Path):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError) as exc:  # neither repeats what the file holds
            raise InputError(f"{path} holds no unencrypted private key in PEM: {exc}") from exc
        except OSError as exc:
            raise InputError(f"signing key {path}: {exc.strerror}") from exc
        if not isinstance(key, Ed25519PrivateKey):
            raise InputError(f"{path} holds a key of another kind; make one by `openssl genpkey -algorithm ed25519`")
        self._key = key
        self.fingerprint = _fingerprint(key.public_key())

    def sign(self, directory: Path, manifest: Manifest) -> None:
        """Write the signature of an artifact, in place of any other's."""
        signature = {
            "format": FORMAT,
            "algorithm": ALGORITHM,
            "digest": manifest.digest,
            "key": self.fingerprint,
            "signature": base64.b64encode(self._key.sign(_message(manifest))).decode(),
        }
        write_atomically(directory / SIGNATURE, json.dumps(signature, indent=1).encode())


class VerifyingKey:
    """A public key.

    Raises:
        InputError: the file holds no Ed25519 key.
    """

    def __init__(self, path: Path):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(path.read_bytes())
        except ValueError as exc:
            raise InputError(f"{path} holds no public key in PEM: {exc}") from exc
        except OSError as exc:
            raise InputError(f"verifying key {path}: {exc.strerror}") from exc
        if not isinstance(key, Ed25519PublicKey):
            raise InputError(f"{path} holds a key of another kind than Ed25519")
        self._key = key
        self.fingerprint = _fingerprint(key)

    def check(self, directory: Path, manifest: Manifest) -> None:
        """Raise InputError unless `directory` holds this key's signature of `manifest`; compares none of its files."""
        from cryptography.exceptions import InvalidSignature

        path = directory / SIGNATURE
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
            signature = base64.b64decode(found["signature"], validate=True)
            signer = str(found["key"])
        except FileNotFoundError as exc:
            raise InputError(f"{directory} is not signed: it has no {SIGNATURE}") from exc
        except (ValueError, KeyError, TypeError) as exc:
            raise InputError(f"{path} is not a signature: {exc!r}") from exc
        if signer != self.fingerprint:
            raise InputError(f"{path} is signed by key {signer}, expected was {self.fingerprint}")
        try:
            self._key.verify(signature, _message(manifest))
        except InvalidSignature as exc:
            raise InputError(f"{path} is no signature of {manifest.digest} by key {self.fingerprint}") from exc


def _message(manifest: Manifest) -> bytes:
    return PURPOSE + manifest.digest.encode()


def _fingerprint(key: Any) -> str:
    """`sha256:<hex>` of the public key's raw bytes."""
    return "sha256:" + hashlib.sha256(key.public_bytes_raw()).hexdigest()
