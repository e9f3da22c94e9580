"""The API server of one cluster, as a context of a kubeconfig reaches it."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from penstock.errors import PenstockError

Object = dict[str, Any]
"""An object as the API server writes it."""
MERGE = "application/merge-patch+json"
BUSY = (429, 502, 503, 504)


class ClusterError(PenstockError):
    """The cluster cannot be used as it was asked for; the message says what to change."""


class Unreachable(ClusterError):
    """The API server does not answer, or not now."""


class ApiError(ClusterError):
    """An answer of the API server that is no success."""

    def __init__(self, status: int, message: str, body: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Kind:
    """One kind of object, and where the API server keeps its objects."""

    path: str
    """`/api/v1` or `/apis/<group>/<version>`."""
    plural: str
    namespaced: bool

    def collection(self, namespace: str | None) -> str:
        """The path of all objects in a namespace; of all there are without one."""
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.path}{inside}/{self.plural}"


class Api:
    """Requests to one API server; nothing is asked before the first of them."""

    def __init__(self, kubeconfig: str, context: str | None = None) -> None:
        """`kubeconfig` is a path, or a kubeconfig's own text."""
        # It takes a second to import, and only what talks to a cluster needs it.
        from kubernetes import config  # pyright: ignore[reportMissingTypeStubs]

        self._kinds: dict[tuple[str, str], Kind] = {}
        with as_file(kubeconfig) as file:
            try:
                self.context = _context(Path(file), context)
                self._client: Any = cast(Any, config).new_client_from_config(file, context=self.context)
            except (cast(Any, config).ConfigException, ValueError, KeyError, TypeError) as exc:
                raise ClusterError(f"the kubeconfig cannot be used: {exc}") from exc
        self._client.configuration.retries = False
        self.server = str(self._client.configuration.host)

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        """One request; an answer that is no success is an ApiError."""
        import urllib3

        headers = {"Accept": "application/json", **({"Content-Type": content_type} if body is not None else {})}
        parameters = [(name, str(value)) for name, value in (query or {}).items()]
        serialized = self._client.param_serialize(
            method,
            path,
            query_params=parameters,
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._client.call_api(*serialized, _request_timeout=60)
            answer.read()
        except urllib3.exceptions.HTTPError as exc:
            reason = getattr(exc, "reason", exc)
            raise Unreachable(f"the API server {self.server} does not answer: {reason}") from exc
        content = _content(bytes(answer.data or b""))
        if 200 <= answer.status < 300:
            return content
        message = str(content.get("message") or content.get("text") or f"HTTP status {answer.status}")
        # One whose store elects a leader says that it is at fault; what was to be changed may be so already.
        if answer.status in BUSY or (answer.status == 500 and method == "GET"):
            raise Unreachable(f"the API server {self.server} does not answer now: {message}")
        if answer.status == 401:
            message = (
                f"the API server {self.server} does not take the credentials of context {self.context!r} ({message}); "
                "sign in again, or choose another context"
            )
        raise ApiError(int(answer.status), message, content)

    def kind(self, api_version: str, kind: str) -> Kind | None:
        """Where objects of a kind are kept; None where the cluster does not know the kind."""
        if (api_version, kind) not in self._kinds:
            path = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            try:
                known = self.request("GET", path)["resources"]
            except ApiError as exc:
                if exc.status != 404:
                    raise
                return None
            for each in known:
                if "/" not in each["name"]:
                    self._kinds[api_version, each["kind"]] = Kind(path, each["name"], each["namespaced"])
        return self._kinds.get((api_version, kind))

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Object | None:
        """An object or a list; None where there is no such thing."""
        try:
            return self.request("GET", path, query)
        except ApiError as exc:
            if exc.status == 404:
                return None
            raise

    def items(self, path: str, query: Mapping[str, Any] | None = None) -> list[Object]:
        """The objects of a list."""
        return list(self.request("GET", path, query)["items"])


def default_kubeconfig() -> str:
    """The path that KUBECONFIG names, else the user's own."""
    return os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())


class as_file:  # noqa: N801 (a context manager, used as a function)
    """The path of a kubeconfig that is given by its path or by its text; a text is in a file of the user's alone."""

    def __init__(self, kubeconfig: str) -> None:
        self._given = kubeconfig
        self._temporary: Path | None = None

    def __enter__(self) -> str:
        if "\n" not in self._given and not self._given.lstrip().startswith("{"):
            path = Path(self._given).expanduser()
            if path.is_file():
                return str(path)
            if os.pathsep in self._given:
                raise ClusterError(
                    f"the kubeconfig {self._given} is several files; make them one with "
                    "`kubectl config view --flatten`, and name that with `pulumi config set --path`"
                )
            raise ClusterError(f"there is no kubeconfig {path}; name one with `pulumi config set --path`")
        handle, name = tempfile.mkstemp(prefix="kubeconfig-")
        with os.fdopen(handle, "w") as file:
            file.write(self._given)
        self._temporary = Path(name)
        return name

    def __exit__(self, *_: object) -> None:
        if self._temporary is not None:
            self._temporary.unlink()


def _context(file: Path, given: str | None) -> str:
    """The context that is asked for, else the kubeconfig's current one."""
    try:
        content: Any = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise ClusterError(f"the kubeconfig cannot be read: {exc}") from exc
    names = [str(each["name"]) for each in content["contexts"] or ()]
    offered = f"it has {', '.join(names) or 'none'}"
    context = given or content.get("current-context")
    if not context:
        raise ClusterError(f"the kubeconfig has no current context; choose one with the setting `context`: {offered}")
    if context not in names:
        raise ClusterError(f"the kubeconfig has no context {context!r}; {offered}")
    return str(context)


def _content(data: bytes) -> Object:
    try:
        return json.loads(data) if data[:1] == b"{" else {"text": data.decode(errors="replace")}
    except ValueError:
        return {"text": data.decode(errors="replace")}
