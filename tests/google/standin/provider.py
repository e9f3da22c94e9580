"""A provider plugin that speaks Pulumi's real protocol and deploys into a simulated cloud.

`python -m standin.provider gcp [ENGINE]` prints its port and serves. It reads two folders from the environment:
PENSTOCK_STANDIN_CLOUD (what exists) and PENSTOCK_STANDIN_SCHEMAS (what was read from the SDK).
"""

import json
import os
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2, empty_pb2, json_format, struct_pb2
from google.rpc import status_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from standin import computed, destroying, inputs, schema
from standin.cloud import Cloud

DISTRIBUTIONS = {"gcp": "pulumi-gcp", "kubernetes": "pulumi-kubernetes"}
UNREACHABLE = "configured Kubernetes cluster is unreachable"


class StandIn(provider_pb2_grpc.ResourceProviderServicer):
    """One provider; all its resources live in `cloud`."""

    def __init__(self, package: str, cloud: Cloud, schemas: Path | None) -> None:
        self._package, self._cloud, self._schemas = package, cloud, schemas
        self._cancelled = threading.Event()
        self._adopts = self._drops = False
        self._cluster = ""

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=False)

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=version(DISTRIBUTIONS[self._package]))

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": self._package}))

    def CheckConfig(self, request: Any, context: Any) -> Any:
        names = schema.provider_settings(self._package, self._schemas)
        news = _dict(request.news)
        failures = [
            provider_pb2.CheckFailure(property=name, reason="is no setting of this provider")
            for name in news
            if name not in names and name != "version" and not name.startswith("__")
        ]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        given = _dict(request.args)
        if "project" in given:
            os.environ["GOOGLE_PROJECT"] = given["project"]
        self._adopts, self._drops = (
            json.loads(given.get(name) or "false") for name in ("upsertExistingObjects", "deleteUnreachable")
        )
        self._cluster = destroying.cluster(given.get("kubeconfig") or "{}")
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=True, acceptResources=False)

    def Check(self, request: Any, context: Any) -> Any:
        token, news = _token(request.urn), _dict(request.news)
        failures = [
            provider_pb2.CheckFailure(property=name, reason=reason)
            for name, reason in inputs.problems(token, news, self._schemas)
        ]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:
        token = _token(request.urn)
        olds, news = _dict(request.old_inputs), _dict(request.news)
        known = schema.of(token, self._schemas) or {"replaces": []}
        ignored = set(request.ignoreChanges)
        changed = sorted(
            name for name in {*olds, *news} - ignored if olds.get(name) != news.get(name) and not name.startswith("__")
        )
        replaced = [
            name
            for name in changed
            if computed.replaces(token, name, olds.get(name), news.get(name), known["replaces"])
        ]
        if token.startswith("kubernetes:") and "metadata" in changed:
            old, new = olds.get("metadata") or {}, news.get("metadata") or {}
            # What is not known yet may be another name.
            if not isinstance(new, dict) or any(old.get(key) != new.get(key) for key in ("name", "namespace")):
                replaced.append("metadata")
        kinds = provider_pb2.DiffResponse
        return kinds(
            changes=kinds.DIFF_SOME if changed else kinds.DIFF_NONE, diffs=changed, replaces=sorted(set(replaced))
        )

    def Create(self, request: Any, context: Any) -> Any:
        token, news = _token(request.urn), _dict(request.properties)
        known = schema.of(token, self._schemas)
        id_ = computed.identity(token, request.urn, news)
        found = computed.outputs(token, id_, news, known)
        if request.preview:
            unknown = {name: inputs.UNKNOWN for name in found if name not in news}
            return provider_pb2.CreateResponse(id="", properties=_struct({**news, **unknown}))
        self._cloud.note("create", token, id_)
        fault = self._fault("create", token, context)
        if fault and not fault.get("partial"):
            context.abort(grpc.StatusCode.UNKNOWN, fault["error"])
        with self._cloud.resources() as resources:
            if destroying.is_gone(self._cluster, resources):
                context.abort(grpc.StatusCode.UNKNOWN, UNREACHABLE)
            if id_ in resources and not self._adopts:
                context.abort(grpc.StatusCode.UNKNOWN, f"Error 409: {id_} already exists, alreadyExists")
            resources[id_] = {"type": token, "inputs": news, "outputs": {**news, **found}}
        if fault:
            _abort_initialised(context, fault["error"], id_, {**news, **found}, news)
        return provider_pb2.CreateResponse(id=id_, properties=_struct({**news, **found}))

    def Read(self, request: Any, context: Any) -> Any:
        existing = self._cloud.existing()
        gone = destroying.is_gone(self._cluster, existing)
        if gone and not self._drops:
            context.abort(grpc.StatusCode.UNKNOWN, UNREACHABLE)
        own = "" if gone else _named(_token(request.urn), request.id, existing)
        if not own:
            return provider_pb2.ReadResponse(id="")
        found = existing[own]
        return provider_pb2.ReadResponse(id=own, properties=_struct(found["outputs"]), inputs=_struct(found["inputs"]))

    def Update(self, request: Any, context: Any) -> Any:
        token, news = _token(request.urn), _dict(request.news)
        olds = _dict(request.olds)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=_struct({**olds, **news}))
        self._cloud.note("update", token, request.id)
        fault = self._fault("update", token, context)
        if fault:
            context.abort(grpc.StatusCode.UNKNOWN, fault["error"])
        with self._cloud.resources() as resources:
            if request.id not in resources:
                context.abort(grpc.StatusCode.UNKNOWN, f"googleapi: Error 404: {request.id} not found, notFound")
            found = computed.outputs(token, request.id, news, schema.of(token, self._schemas))
            resources[request.id].update(inputs=news, outputs={**news, **found})
        return provider_pb2.UpdateResponse(properties=_struct({**news, **found}))

    def Delete(self, request: Any, context: Any) -> Any:
        token = _token(request.urn)
        self._cloud.note("delete", token, request.id)
        fault = self._fault("delete", token, context)
        if fault:
            context.abort(grpc.StatusCode.UNKNOWN, fault["error"])
        with self._cloud.resources() as resources:
            if destroying.is_gone(self._cluster, resources) and not self._drops:
                context.abort(grpc.StatusCode.UNKNOWN, UNREACHABLE)
            refused = destroying.refusal(token, request.id, resources, self._has_had(destroying.DATABASE))
            if refused:
                context.abort(grpc.StatusCode.UNKNOWN, refused)
            destroying.delete(token, request.id, resources)
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        if request.tok != computed.STORAGE_AGENT:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the stand-in has no function {request.tok}")
        return provider_pb2.InvokeResponse(**{"return": _struct(computed.storage_agent(_dict(request.args)))})

    def Cancel(self, request: Any, context: Any) -> Any:
        self._cancelled.set()
        return empty_pb2.Empty()

    def _has_had(self, token: str) -> bool:
        return any(type_ == token for _, type_, _ in self._cloud.calls("create"))

    def _fault(self, operation: str, token: str, context: Any) -> dict[str, Any] | None:
        fault = self._cloud.fault(operation, token)
        if fault and self._cancelled.wait(fault.get("seconds", 0)):
            context.abort(grpc.StatusCode.CANCELLED, "cancelled")
        return fault if fault and "error" in fault else None


def _abort_initialised(context: Any, error: str, id_: str, outputs: dict[str, Any], news: dict[str, Any]) -> None:
    """It exists, yet is not what it should be: the state keeps it, and the next run goes on from there."""
    detail = any_pb2.Any()
    detail.Pack(
        provider_pb2.ErrorResourceInitFailed(id=id_, properties=_struct(outputs), reasons=[error], inputs=_struct(news))
    )
    status = status_pb2.Status(code=2, message=error, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, error)


def _named(token: str, name: str, existing: dict[str, Any]) -> str:
    """The id of what a state names, or Google's own name of it by which it is taken over; none if it is not there."""
    if name in existing or f"/{token.rpartition(':')[2]}/" in name or token.startswith("kubernetes:"):
        return name if name in existing else ""
    last = name.rpartition("/")[2]
    alike = (id_ for id_, each in existing.items() if each["type"] == token and id_.rpartition("/")[2] == last)
    return next(alike, "")


def _token(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _dict(value: Any) -> dict[str, Any]:
    """Without what nobody set, which the plugins leave out too."""
    return _set(json_format.MessageToDict(value))


def _set(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _set(each) for key, each in value.items() if each is not None}
    return [_set(each) for each in value] if isinstance(value, list) else value


def _struct(value: dict[str, Any]) -> Any:
    found = struct_pb2.Struct()
    json_format.ParseDict(value, found)
    return found


def serve(package: str, cloud: Path, schemas: Path | None) -> tuple[grpc.Server, int]:
    """Starts the provider on a free port of the loopback address."""
    server = grpc.server(ThreadPoolExecutor(max_workers=16))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(StandIn(package, Cloud(cloud), schemas), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def main() -> None:
    """Serves until the engine ends it, or is itself gone."""
    package = re.sub(r"^pulumi-resource-", "", sys.argv[1])
    schemas = os.environ.get("PENSTOCK_STANDIN_SCHEMAS")
    server, port = serve(package, Path(os.environ["PENSTOCK_STANDIN_CLOUD"]), Path(schemas) if schemas else None)
    print(port, flush=True)
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.2)
    server.stop(0)


if __name__ == "__main__":
    main()
