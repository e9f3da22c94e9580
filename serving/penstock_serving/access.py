"""Who may ask, and over what: bearer tokens from a file, TLS from a certificate and its key."""

import argparse
import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from penstock_serving.errors import UnauthorizedError
from penstock_trainer.errors import InputError

if TYPE_CHECKING:
    import ssl  # 5 MB, for those who want it

SHORTEST = 16
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""What RFC 6750 lets a bearer token be."""
CHALLENGE = 'Bearer realm="penstock"'
BROWSER_CHALLENGE = f'Basic realm="penstock", {CHALLENGE}'
"""A browser asks its user for a password, which is the token, and has no way to be given one otherwise."""


class Tokens:
    """The tokens that open a server; only their hashes are kept."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._hashes = [hashlib.sha256(token.encode()).digest() for token in tokens]

    @classmethod
    def read(cls, path: Path) -> "Tokens":
        """The tokens in the file `path`, one a line; empty lines and those that begin with `#` do not count.

        Raises:
            InputError: the file cannot be read, holds none, or one of them is too short or no token; it is not shown.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise InputError(f"--token-file {path} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
        found = {number: line.strip() for number, line in enumerate(lines, 1)}
        found = {number: token for number, token in found.items() if token and not token.startswith("#")}
        for number, token in found.items():
            if not TOKEN.fullmatch(token):
                raise InputError(
                    f"--token-file {path}, line {number}: expected letters, digits and any of '-._~+/', '='"
                )
            if len(token) < SHORTEST:
                raise InputError(
                    f"--token-file {path}, line {number}: a token of {len(token)} characters can be guessed,"
                    f" expected {SHORTEST} or more"
                )
        if not found:
            raise InputError(f"--token-file {path} holds no token, expected one a line")
        return cls(found.values())

    def check(self, authorization: bytes | None, browser: bool = False) -> None:
        """Let a request pass whose `authorization` is `Bearer TOKEN`, or `Basic` with a token as the password.

        `browser`: what asks may be one, and is invited to ask its user.

        Raises:
            UnauthorizedError: it has no token, or none of these.
        """
        challenge = BROWSER_CHALLENGE if browser else CHALLENGE
        if authorization is None:
            raise UnauthorizedError(
                "this server wants a token: send the header 'authorization: Bearer TOKEN'",
                {"www-authenticate": challenge},
            )
        given = hashlib.sha256(_token(authorization)).digest()
        # Every one is compared, and each in constant time: how long it takes says nothing of any.
        if not sum(hmac.compare_digest(given, known) for known in self._hashes):
            raise UnauthorizedError(
                "the token in the header 'authorization' is none of this server's",
                {"www-authenticate": f'{challenge}, error="invalid_token"'},
            )


@dataclass(frozen=True)
class Access:
    """How a server may be reached; `tokens` None: by anyone, `tls` None: in plain text."""

    tokens: Tokens | None = None
    tls: "ssl.SSLContext | None" = None
    pair: tuple[Path, Path] | None = None
    """The files of certificate and key that `tls` was made from."""


def add_access(parser: argparse.ArgumentParser) -> None:
    """The arguments that make up `Access`."""
    group = parser.add_argument_group("access", "by default anyone who reaches the port may ask, in plain text")
    group.add_argument("--token-file", type=Path, metavar="FILE", help="bearer tokens that may ask, one a line")
    group.add_argument("--certificate", type=Path, metavar="FILE", help="PEM chain for TLS; with --private-key")
    group.add_argument("--private-key", type=Path, metavar="FILE", help="its PEM key, not encrypted")


def access_of(arguments: argparse.Namespace) -> Access:
    """What the arguments state, their files read.

    Raises:
        InputError: a file is missing or holds something else, or certificate and key do not belong together.
    """
    certificate, key = arguments.certificate, arguments.private_key
    if (certificate is None) != (key is None):
        given, missing = ("--certificate", "--private-key") if key is None else ("--private-key", "--certificate")
        raise InputError(f"{given} is given without {missing}: TLS takes both")
    tokens = Tokens.read(arguments.token_file) if arguments.token_file is not None else None
    if certificate is None:
        return Access(tokens)
    return Access(tokens, _tls(certificate, key), (certificate, key))


def _tls(certificate: Path, key: Path) -> "ssl.SSLContext":
    import ssl

    for flag, path in (("--certificate", certificate), ("--private-key", key)):
        try:
            path.read_bytes()
        except OSError as exc:
            raise InputError(f"{flag} {path} cannot be read: {exc.strerror}") from exc
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(certificate)
    except ssl.SSLError as exc:
        raise InputError(f"--certificate {certificate} holds no PEM certificate: {exc.reason or exc}") from exc

    def encrypted() -> str:
        raise InputError(f"--private-key {key} is encrypted, expected one that needs no password")

    try:
        context.load_cert_chain(certificate, key, encrypted)
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            raise InputError(f"--private-key {key} is not the key of --certificate {certificate}") from exc
        raise InputError(f"--private-key {key} holds no PEM key: {exc.reason or exc}") from exc
    return context


def _token(authorization: bytes) -> bytes:
    """The token in a header's value; empty where there is none."""
    scheme, _, credentials = authorization.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return credentials.strip()
    if scheme.lower() != b"basic":
        return b""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
