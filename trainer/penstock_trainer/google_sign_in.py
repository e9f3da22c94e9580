"""Signing in to a Cloud SQL database as the Google account that this process runs as: no password is kept anywhere."""

import os
from collections.abc import Callable
from typing import Any

import psycopg
import sqlalchemy

from penstock_trainer.errors import InputError

SIGN_IN = "PENSTOCK_DATABASE_SIGN_IN"
"""Environment variable; `google`: the database takes the account's access token in a password's place."""
SCOPE = "https://www.googleapis.com/auth/sqlservice.login"


def connecting(where: sqlalchemy.URL) -> dict[str, Callable[[], Any]]:
    """What SQLAlchemy's engine takes to sign in anew with each connection; nothing where nobody asks for it.

    Raises:
        InputError: the sign-in is asked for, and there is no account, or no google-auth.
    """
    if os.environ.get(SIGN_IN) != "google":
        return {}
    token = _tokens()
    positional, named = where.get_dialect()().create_connect_args(where)
    # A token lives for an hour: each connection asks for one that is still good.
    return {"creator": lambda: psycopg.connect(*positional, **named, password=token())}


def _tokens() -> Callable[[], str]:
    try:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError
        from google.auth.transport.requests import Request
    except ImportError as exc:
        raise InputError(f"{SIGN_IN}=google needs google-auth, which the extra `dataflow` brings") from exc
    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
    except DefaultCredentialsError as exc:
        raise InputError(f"{SIGN_IN}=google, and this process runs as no account of Google's: {exc}") from exc

    def token() -> str:
        if not credentials.valid:
            credentials.refresh(Request())
        return str(credentials.token)

    return token
