"""APIs that the API server passes on: their programs run beside the cluster's pods, on the nodes' network."""

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.control_plane import ControlPlane


def serve(plane: "ControlPlane", process: str, service: tuple[str, str], port: int, versions: Sequence[str]) -> None:
    """Passes versions of an API, `group/version`, on to a program; returns once it answers for all of them.

    `service` is the name, by namespace, that the program's certificate is for. It is no pod: the API server finds it by
    a name that the nodes' gateway has for itself.
    """
    namespace, name = service
    authority = base64.b64encode(plane.authority.path("ca.crt").read_bytes()).decode()
    spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
    metadata = {"name": name, "namespace": namespace}
    passed = [{"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}]
    names: list[str] = []
    for each in versions:
        group, _, version = each.partition("/")
        names.append(f"{version}.{group}")
        spec = {
            "group": group,
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": authority,
            "service": {**metadata, "port": port},
        }
        passed.append(
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": names[-1]},
                "spec": spec,
            }
        )
    plane.apply(passed)
    path = '{.status.conditions[?(@.type=="Available")].status}'
    for each in names:
        asked = ("get", "apiservice", each, "--output", f"jsonpath={path}")
        plane.processes.wait(process, lambda asked=asked: plane.kubectl(*asked) == "True")
