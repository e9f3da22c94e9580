"""Google's REST interfaces, by Google's own sign-in; nothing is asked before the first request."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, cast

from penstock.errors import PenstockError

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
JSON = "application/json"


class Google:
    """One service at `endpoint`; the environment variable `emulator` may name another place, which takes no sign-in."""

    def __init__(self, endpoint: str, emulator: str) -> None:
        self._elsewhere = os.environ.get(emulator, "")
        self._endpoint = self._elsewhere or endpoint
        self._session: Any = None

    def request(
        self, verb: str, path: str, query: Mapping[str, str], absent: bool = False, body: Any = None, form: str = JSON
    ) -> Any:
        """The answer; with `absent`, None where there is no such thing. Errors are PenstockErrors in Google's words.

        `body` is sent as JSON, under the media type `form`.
        """
        sent = {} if body is None else {"data": json.dumps(body), "headers": {"content-type": form}}
        answer = self._signed_in().request(verb, f"{self._endpoint}{path}", params=query, timeout=60, **sent)
        if absent and answer.status_code == 404:
            return None
        if answer.status_code >= 400:
            raise PenstockError(f"Google answers {answer.status_code} to {verb} {path}: {answer.text[:300]}")
        return answer

    def items(self, path: str, query: Mapping[str, str], field: str = "items") -> Iterator[dict[str, Any]]:
        """The members of a list, over all its pages."""
        token = ""
        while True:
            page = {**query, "pageToken": token} if token else query
            answer = self.request("GET", path, page).json()
            yield from answer.get(field, [])
            token = answer.get("nextPageToken", "")
            if not token:
                return

    def _signed_in(self) -> Any:
        if self._session is None:
            import requests

            if self._elsewhere:
                self._session = requests.Session()
            else:
                from google import auth
                from google.auth.exceptions import DefaultCredentialsError
                from google.auth.transport.requests import AuthorizedSession

                try:
                    credentials, _ = cast(Any, auth).default(scopes=[SCOPE])
                except DefaultCredentialsError as exc:
                    raise PenstockError(
                        "nobody is signed in to Google: `gcloud auth application-default login`"
                    ) from exc
                self._session = AuthorizedSession(credentials)
        return self._session
