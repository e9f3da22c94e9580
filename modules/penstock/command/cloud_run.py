"""An endpoint on Cloud Run: what the stack's state says of it, what Google does, and how it is called."""

import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from penstock.command.state import Resource, argument
from penstock.errors import PenstockError
from penstock.gcp.google import Google
from penstock.gcp.guarded import RUN
from penstock.gcp.storage_api import Storage

READY = "CONDITION_SUCCEEDED"


@dataclass(frozen=True)
class CloudRun:
    """One service."""

    path: str
    """`projects/P/locations/L/services/S`."""
    url: str
    model_name: str
    """In URLs."""
    folder: str
    """Of the model, as the server sees it."""
    digest: str
    lowest: int
    highest: int
    made: Mapping[str, Any] = field(repr=False)
    """Its outputs in the state."""
    google: Google = field(default_factory=lambda: Google("https://run.googleapis.com", RUN), repr=False)
    """Cloud Run's interface, signed in to once."""
    storage: Storage = field(default_factory=Storage, repr=False)
    """Likewise Cloud Storage's."""

    @classmethod
    def of(cls, resource: Resource) -> "CloudRun":
        """The service of a stack's endpoint; PenstockError where the state does not say which model it serves."""
        made = resource.outputs
        template: Mapping[str, Any] = made["template"]
        scaling: Mapping[str, int] = made.get("scaling") or {}
        arguments: list[str] = template["containers"][0].get("args") or []
        name, folder, digest = (argument(arguments, each) for each in ("--name", "--model", "--expect-digest"))
        if name is None or folder is None or digest is None:
            raise PenstockError(f"Cloud Run's service {made['name']} is not Penstock's server, or of several models")
        return cls(
            path=f"projects/{made['project']}/locations/{made['location']}/services/{made['name']}",
            url=made["uri"],
            model_name=name,
            folder=folder,
            digest=digest,
            lowest=int(scaling.get("minInstanceCount") or 0),
            highest=int(template["scaling"]["maxInstanceCount"]),
            made=made,
        )

    def service(self) -> dict[str, Any]:
        """The service as Google describes it now; PenstockError where it is gone, or nobody is signed in."""
        answer = self.google.request("GET", f"/v2/{self.path}", {}, absent=True)
        if answer is None:
            raise PenstockError(f"{self.path} is not on Cloud Run any more; `up` makes it again")
        return answer.json()

    def callers(self) -> set[str]:
        """Whom the service's own policy lets call it."""
        policy = self.google.request("GET", f"/v2/{self.path}:getIamPolicy", {}).json()
        return {
            member
            for binding in policy.get("bindings", [])
            if binding["role"] == "roles/run.invoker"
            for member in binding["members"]
        }

    def content(self, file: str) -> bytes:
        """A file that the server sees in its store, read from the bucket behind it."""
        container = self.made["template"]["containers"][0]
        buckets = {each["name"]: each["gcs"]["bucket"] for each in self.made["template"]["volumes"] if each.get("gcs")}
        for mount in container["volumeMounts"]:
            path, place = PurePosixPath(file), mount["mountPath"]
            if mount["name"] in buckets and path.is_relative_to(place):
                return self.storage.content(buckets[mount["name"]], str(path.relative_to(place)))
        raise PenstockError(f"{file} is in no bucket that the service mounts")


@contextmanager
def identity_token() -> Generator[str]:
    """A private file with the token by which Cloud Run knows who is signed in to gcloud, while the block runs."""
    try:
        done = subprocess.run(["gcloud", "auth", "print-identity-token"], capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise PenstockError("who calls Cloud Run is known by a token of gcloud's, which is not on PATH") from exc
    if done.returncode:
        raise PenstockError(f"gcloud has no token for Cloud Run: {done.stderr.strip()}")
    with tempfile.NamedTemporaryFile("w", prefix="penstock-", suffix=".token") as file:
        file.write(done.stdout)
        file.flush()
        yield file.name
