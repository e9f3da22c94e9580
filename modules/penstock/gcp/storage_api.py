"""The few requests to Cloud Storage that Penstock makes itself; nothing is asked before the first of them."""

import json
import os
from typing import Any, cast
from urllib.parse import quote

from penstock.errors import PenstockError

GOOGLE = "https://storage.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


class Storage:
    """Buckets, by Google's own sign-in; STORAGE_EMULATOR_HOST names an emulator, which takes none."""

    def __init__(self) -> None:
        self._emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
        self._session: Any = None

    def names(self, bucket: str, prefix: str) -> list[str]:
        """The names of all objects that begin so."""
        found: list[str] = []
        token = ""
        while True:
            page = {"prefix": prefix, "fields": "items(name),nextPageToken", **({"pageToken": token} if token else {})}
            answer = self._request("GET", f"/b/{bucket}/o", page).json()
            found += [item["name"] for item in answer.get("items", [])]
            token = answer.get("nextPageToken", "")
            if not token:
                return found

    def json(self, bucket: str, name: str) -> Any:
        """The content of a JSON object; None where there is none."""
        answer = self._request("GET", f"/b/{bucket}/o/{quote(name, safe='')}", {"alt": "media"}, absent=True)
        return None if answer is None else json.loads(answer.content)

    def copy(self, bucket: str, name: str, target: str) -> None:
        """Copies an object to the same name in another bucket, however large it is."""
        path = f"/b/{bucket}/o/{quote(name, safe='')}/rewriteTo/b/{target}/o/{quote(name, safe='')}"
        token = ""
        while True:
            answer = self._request("POST", path, {"rewriteToken": token} if token else {}).json()
            if answer["done"]:
                return
            token = answer["rewriteToken"]

    def _request(self, verb: str, path: str, query: dict[str, str], absent: bool = False) -> Any:
        url = f"{self._emulator or GOOGLE}/storage/v1{path}"
        answer = self._signed_in().request(verb, url, params=query, timeout=60)
        if absent and answer.status_code == 404:
            return None
        if answer.status_code >= 400:
            raise PenstockError(f"Cloud Storage answers {answer.status_code} to {verb} {path}: {answer.text[:300]}")
        return answer

    def _signed_in(self) -> Any:
        if self._session is None:
            import requests

            if self._emulator:
                self._session = requests.Session()
            else:
                from google import auth
                from google.auth.transport.requests import AuthorizedSession

                credentials, _ = cast(Any, auth).default(scopes=[SCOPE])
                self._session = AuthorizedSession(credentials)
        return self._session
