"""Verification for people: what of an artifact does not match, and the chain back to its raw files.

python -m penstock_trainer verify artifacts/models/<key> --key verifying.pem
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from penstock_trainer.artifacts import MANIFEST, SIGNATURE, Manifest, broken_links, lineage, mismatches
from penstock_trainer.errors import InputError
from penstock_trainer.signing import SigningKey, VerifyingKey


def run(directory: Path, key: Path | None) -> None:
    """Print the chain, or what does not match.

    Raises:
        InputError: something does not match; every such thing was printed.
    """
    manifest = Manifest.read(directory)
    chain = lineage(directory, manifest)
    wrong = [*mismatches(directory, manifest), *broken_links(directory, chain)]
    signed = "signed, by a key that was not checked" if (directory / SIGNATURE).exists() else "not signed"
    if key is not None:
        verifying = VerifyingKey(key)
        signed = f"signed by {verifying.fingerprint}"
        try:
            verifying.check(directory, manifest)
        except InputError as exc:
            wrong.append(str(exc))
    if wrong:
        print("\n".join(wrong), flush=True)
        raise InputError(f"{directory} does not hold; things that do not match: {len(wrong)}")
    print("\n".join(_told(manifest.kind, chain)))
    print(f"{len(manifest.files)} files match {MANIFEST}; {signed}", flush=True)


def sign(directory: Path, key: Path) -> None:
    """Sign a sealed artifact that holds."""
    manifest = Manifest.read(directory)
    if wrong := next(mismatches(directory, manifest), None):
        raise InputError(wrong)
    signing = SigningKey(key)
    signing.sign(directory, manifest)
    print(f"{manifest.kind} {manifest.digest} signed by {signing.fingerprint}", flush=True)


def _told(kind: str, chain: Mapping[str, Manifest], depth: int = 0) -> Iterator[str]:
    manifest, indent = chain[kind], "  " * depth
    rows = f", {manifest.counts['rows']:,} rows" if "rows" in manifest.counts else ""
    yield f"{indent}{kind} {manifest.digest}{rows}"
    if manifest.kind == "raw":
        yield from (f"{indent}  {path} {digest}" for path, digest in sorted(manifest.files.items()))
    for name in manifest.inputs:
        yield from _told(name, chain, depth + 1)
