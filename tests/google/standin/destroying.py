"""What a deletion meets: why it is refused as Google and Kubernetes refuse it, and what goes or stays with it."""

import json
from collections.abc import Mapping
from typing import Any

PROTECTED = {
    "gcp:container/cluster:Cluster": "deletionProtection",
    "gcp:sql/databaseInstance:DatabaseInstance": "deletionProtection",
    "gcp:cloudrunv2/service:Service": "deletionProtection",
}
CLUSTER, DATABASE = "gcp:container/cluster:Cluster", "gcp:sql/databaseInstance:DatabaseInstance"
NETWORK = "gcp:compute/network:Network"
WITHIN = ("gcp:sql/database:Database", "gcp:sql/user:User")
"""What lies in a database instance."""
Resources = dict[str, Any]


def refusal(token: str, id_: str, resources: Mapping[str, Any], ever: bool) -> str | None:
    """Why a resource cannot be deleted now; `ever`: whether there has been a database instance."""
    there = resources.get(id_)
    if there is None:
        return None
    own = there["inputs"]
    field = PROTECTED.get(token)
    if field and own.get(field, True):
        return f"cannot destroy {id_} without setting {field}=false"
    if there.get("objects") and not own.get("forceDestroy"):
        return f"googleapi: Error 409: bucket {id_} is not empty, conflict"
    if token == "gcp:sql/user:User" and own.get("databaseRoles") and own.get("deletionPolicy") != "ABANDON":
        return f"googleapi: Error 400: role {own['name']} cannot be dropped because some objects depend on it"
    if token.endswith(":Connection") and ever and own.get("deletionPolicy") != "REMOVE_PEERING":
        return "Error code 9: Producer services (e.g. CloudSQL, ...) are still using this connection."
    if token == NETWORK:
        used = [other for other, each in resources.items() if other != id_ and _stands_in(each["inputs"], own["name"])]
        if used:
            return f"googleapi: Error 400: The network resource {id_} is already being used by {used[0]}"
    return None


def _stands_in(given: Mapping[str, Any], network: str) -> bool:
    return str(given.get("network", "")).rpartition("/")[2] == network


def delete(token: str, id_: str, resources: Resources) -> None:
    """Takes a resource away, and what lies in it; one that the program abandons stays."""
    own = resources.get(id_, {"inputs": {}})["inputs"]
    if own.get("deletionPolicy") == "ABANDON":
        return
    resources.pop(id_, None)
    if token == DATABASE:
        for each in [name for name, there in resources.items() if there["type"] in WITHIN]:
            if resources[each]["inputs"]["instance"] == own.get("name"):
                del resources[each]


def cluster(kubeconfig: str) -> str:
    """The cluster on GKE that a kubeconfig leads to, by its name; empty: one that is not in the cloud."""
    try:
        known = json.loads(kubeconfig)
    except ValueError:
        return ""
    signs_in = str(known.get("users", [{}])[0].get("user", {}).get("exec", {}).get("command", ""))
    return known["current-context"] if signs_in == "gke-gcloud-auth-plugin" else ""


def is_gone(name: str, resources: Mapping[str, Any]) -> bool:
    """Whether the cluster of that name is not there."""
    return bool(name) and not any(
        each["type"] == CLUSTER and each["inputs"]["name"] == name for each in resources.values()
    )
