"""Stands in for the plugin `pulumi-resource-kubernetes`.

It speaks Pulumi's provider protocol and does to a real API server what the plugin does: server-side apply, a dry run in
a preview, names, waiting, deletion with what depends on it. It is for single objects: patch, list, YAML and Helm
resources it does not know. Started by the engine from PATH; it writes its port to standard output.
"""

import os
import sys
import threading
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.rpc import status_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from kubernetes_plugin import awaiting, objects, values
from penstock.kubernetes.api import Api, ApiError, ClusterError, Kind, Object

VERSION = "4.34.2"
MANAGER = "pulumi-kubernetes"
UNTOUCHED = ("managedFields",)


class KubernetesProvider(provider_pb2_grpc.ResourceProviderServicer):
    """One configured provider, as the engine has it."""

    def __init__(self) -> None:
        self._api: Api | None = None
        self._namespace = "default"
        self._upsert = False
        self._variables: dict[str, str] = {}
        self._cancelled = threading.Event()

    def GetPluginInfo(self, request, context):  # noqa: N802
        return plugin_pb2.PluginInfo(version=VERSION)

    def CheckConfig(self, request, context):  # noqa: N802
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request, context):  # noqa: N802
        changed = values.differences(values.plain(request.olds), values.plain(request.news))
        changes = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, diffs=changed)

    def Configure(self, request, context):  # noqa: N802
        prefix = "kubernetes:config:"
        self._variables = {name.removeprefix(prefix): value for name, value in request.variables.items()}
        self._namespace = self._variables.get("namespace") or "default"
        self._upsert = self._variables.get("upsertExistingObjects") == "true"
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Cancel(self, request, context):  # noqa: N802
        self._cancelled.set()
        return empty_pb2.Empty()

    def Check(self, request, context):  # noqa: N802
        inputs, old = values.plain(request.news), values.plain(request.olds)
        name = request.urn.rpartition("::")[2]
        try:
            kind = self._kind(inputs, context)
            namespace = self._namespace if kind is not None and kind.namespaced else None
            inputs = objects.checked(inputs, old, name, bytes(request.randomSeed), namespace)
        except objects.Refused as exc:
            return provider_pb2.CheckResponse(failures=[provider_pb2.CheckFailure(reason=str(exc))])
        return provider_pb2.CheckResponse(inputs=values.packed(inputs))

    def Diff(self, request, context):  # noqa: N802
        old, new = values.plain(request.old_inputs), values.plain(request.news)
        if objects.is_custom(old):
            old = values.pruned(values.plain(request.olds), old)
        changed = values.differences(old, new)
        replaces = objects.replacing(new, changed)
        detail = {}
        for path in changed:
            kind = provider_pb2.PropertyDiff.UPDATE_REPLACE if path in replaces else provider_pb2.PropertyDiff.UPDATE
            detail[path] = provider_pb2.PropertyDiff(kind=kind, inputDiff=True)
        same_name = bool(old) and objects.identity(old) == objects.identity(new)
        response = provider_pb2.DiffResponse
        return response(
            changes=response.DIFF_SOME if changed else response.DIFF_NONE,
            diffs=sorted({path.split(".")[0].split("[")[0] for path in changed}),
            replaces=replaces,
            detailedDiff=detail,
            hasDetailedDiff=True,
            # Two objects of one name cannot be there at the same time.
            deleteBeforeReplace=bool(replaces) and same_name and not objects.is_autonamed(new),
        )

    def Create(self, request, context):  # noqa: N802
        inputs = values.plain(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=values.packed(self._previewed(inputs, context)))
        path = self._path(inputs, context)
        with _told(context):
            if not self._upsert and self._reach(context).get(path) is not None:
                raise ApiError(409, f'{inputs["kind"]} "{objects.identity(inputs)}" already exists', {})
            made = self._apply(inputs, path, context)
        live = self._awaited(inputs, path, made, request.timeout, context)
        return provider_pb2.CreateResponse(id=objects.identity(inputs), properties=values.packed(live))

    def Update(self, request, context):  # noqa: N802
        inputs = values.plain(request.news)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=values.packed(self._previewed(inputs, context)))
        path = self._path(inputs, context)
        with _told(context):
            made = self._apply(inputs, path, context)
        live = self._awaited(inputs, path, made, request.timeout, context)
        return provider_pb2.UpdateResponse(properties=values.packed(live))

    def Read(self, request, context):  # noqa: N802
        inputs = values.plain(request.inputs)
        if not inputs:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "the stand-in reads only what it has made")
        with _told(context):
            live = self._reach(context).get(self._path(inputs, context))
        if live is None:
            return provider_pb2.ReadResponse()
        state = values.packed(_state(live))
        return provider_pb2.ReadResponse(id=request.id, properties=state, inputs=request.inputs)

    def Delete(self, request, context):  # noqa: N802
        state = values.plain(request.properties)
        annotations = state["metadata"].get("annotations") or {}
        policy = annotations.get("pulumi.com/deletionPropagationPolicy", "foreground").capitalize()
        path, body = self._path(state, context), {"propagationPolicy": policy}
        with _told(context):
            try:
                self._reach(context).request("DELETE", path, body={"kind": "DeleteOptions", "apiVersion": "v1", **body})
            except ApiError as exc:
                if exc.status != 404:
                    raise
            if annotations.get("pulumi.com/skipAwait") != "true":
                awaiting.gone(self._reach(context), path, request.timeout, self._cancelled.is_set)
        return empty_pb2.Empty()

    def _previewed(self, inputs: Object, context: Any) -> Object:
        """What the cluster would make of it, as far as that can be asked already."""
        kind = self._kind(inputs, context)
        if kind is None or values.has_unknown(inputs):
            return inputs
        try:
            return self._apply(inputs, self._path(inputs, context), context, dryRun="All")
        except ApiError as exc:
            # Its namespace may be made by the same run.
            if exc.status == 404:
                return inputs
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the cluster refuses it: {exc}")
            raise

    def _apply(self, inputs: Object, path: str, context: Any, **query: str) -> Object:
        annotations = inputs["metadata"].get("annotations") or {}
        force = str(annotations.get("pulumi.com/patchForce", "false")).lower()
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict", "force": force, **query}
        return self._reach(context).request("PATCH", path, query, inputs, objects.APPLY)

    def _awaited(self, inputs: Object, path: str, made: Object, timeout: float, context: Any) -> Object:
        try:
            return _state(awaiting.ready(self._reach(context), path, made, timeout, self._cancelled.is_set))
        except (awaiting.NotReady, ApiError) as exc:
            reasons = exc.reasons if isinstance(exc, awaiting.NotReady) else [str(exc)]
            live = self._reach(context).get(path) or made
            # The object is there, so the engine must know of it although the step has failed.
            failed = provider_pb2.ErrorResourceInitFailed(
                id=objects.identity(inputs),
                properties=values.packed(_state(live)),
                inputs=values.packed(inputs),
                reasons=reasons,
            )
            detail = any_pb2.Any()
            detail.Pack(failed, type_url_prefix="type.googleapis.com")
            message = f"{inputs['kind']} {objects.identity(inputs)} was made and did not become ready"
            status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message, details=[detail])
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(grpc.StatusCode.UNKNOWN, message)
            raise

    def _kind(self, inputs: Object, context: Any) -> Kind | None:
        with _told(context):
            return self._reach(context).kind(str(inputs.get("apiVersion")), str(inputs.get("kind")))

    def _path(self, inputs: Object, context: Any) -> str:
        kind, metadata = self._kind(inputs, context), inputs["metadata"]
        if kind is None:
            message = f'no matches for kind "{inputs["kind"]}" in version "{inputs["apiVersion"]}"'
            context.abort(grpc.StatusCode.NOT_FOUND, message)
            raise AssertionError(message)
        return f"{kind.collection(metadata.get('namespace'))}/{metadata['name']}"

    def _reach(self, context: Any) -> Api:
        if self._api is None:
            kubeconfig = self._variables.get("kubeconfig") or os.environ.get("KUBECONFIG") or "~/.kube/config"
            with _told(context):
                self._api = Api(kubeconfig, self._variables.get("context"))
        return self._api


class _told:  # noqa: N801 (a context manager, used as a function)
    """Passes what the cluster answers to the engine as it is."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: Any, error: BaseException | None, _traceback: Any) -> None:
        if isinstance(error, (ClusterError, awaiting.NotReady)):
            self._context.abort(grpc.StatusCode.UNKNOWN, str(error))


def _state(live: Object) -> Object:
    metadata = {name: value for name, value in live["metadata"].items() if name not in UNTOUCHED}
    return {**live, "metadata": metadata}


def main() -> None:
    """Serves until the engine ends it."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(KubernetesProvider(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    engine = os.getppid()
    print(port, flush=True)
    while server.wait_for_termination(1):
        # One that was killed told nobody.
        if os.getppid() != engine:
            return


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
