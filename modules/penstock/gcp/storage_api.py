"""The few requests to Cloud Storage that Penstock makes itself."""

import json
from typing import Any
from urllib.parse import quote

from penstock.errors import PenstockError
from penstock.gcp.google import Google

BROWSED = "https://storage.cloud.google.com/"
"""Where a browser opens an object, as whoever is signed in."""


class Storage:
    """Buckets; STORAGE_EMULATOR_HOST names an emulator."""

    def __init__(self) -> None:
        self._google = Google("https://storage.googleapis.com", "STORAGE_EMULATOR_HOST")

    def names(self, bucket: str, prefix: str) -> list[str]:
        """The names of all objects that begin so."""
        found: list[str] = []
        token = ""
        while True:
            page = {"prefix": prefix, "fields": "items(name),nextPageToken", **({"pageToken": token} if token else {})}
            answer = self._google.request("GET", f"/storage/v1/b/{bucket}/o", page).json()
            found += [item["name"] for item in answer.get("items", [])]
            token = answer.get("nextPageToken", "")
            if not token:
                return found

    def json(self, bucket: str, name: str) -> Any:
        """The content of a JSON object; None where there is none."""
        found = self._content(bucket, name)
        return None if found is None else json.loads(found)

    def content(self, bucket: str, name: str) -> bytes:
        """The content of an object; PenstockError where there is none."""
        found = self._content(bucket, name)
        if found is None:
            raise PenstockError(f"gs://{bucket}/{name} is not there")
        return found

    def write(self, bucket: str, name: str, content: Any) -> None:
        """Writes a JSON object."""
        query = {"uploadType": "media", "name": name}
        self._google.request("POST", f"/upload/storage/v1/b/{bucket}/o", query, body=content)

    def delete(self, bucket: str, name: str) -> bool:
        """Whether there was such an object; it is gone."""
        path = f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
        return self._google.request("DELETE", path, {}, absent=True) is not None

    def copy(self, bucket: str, name: str, target: str) -> None:
        """Copies an object to the same name in another bucket, however large it is."""
        path = f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}/rewriteTo/b/{target}/o/{quote(name, safe='')}"
        token = ""
        while True:
            answer = self._google.request("POST", path, {"rewriteToken": token} if token else {}).json()
            if answer["done"]:
                return
            token = answer["rewriteToken"]

    def _content(self, bucket: str, name: str) -> bytes | None:
        path = f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
        answer = self._google.request("GET", path, {"alt": "media"}, absent=True)
        return None if answer is None else answer.content
