"""What a resource has beside its inputs once it exists: its id, and the outputs that programs build upon."""

import base64
import hashlib
import os
from collections.abc import Mapping
from typing import Any

PROJECT = "stand-in"
NAME_FIELDS = (
    "name",
    "accountId",
    "repositoryId",
    "instanceId",
    "topic",
    "service",
    "budgetFilter",
    "displayName",
    "secretId",
)
REPLACES: dict[str, tuple[str, ...]] = {
    "": ("name", "project", "location", "region", "zone"),
    "gcp:container/cluster:Cluster": (
        "network",
        "subnetwork",
        "datapathProvider",
        "ipAllocationPolicy",
        "initialNodeCount",
    ),
    "gcp:container/nodePool:NodePool": ("cluster", "initialNodeCount", "nodeConfig"),
    "gcp:compute/subnetwork:Subnetwork": ("network", "purpose"),
    "gcp:compute/network:Network": ("autoCreateSubnetworks",),
    "gcp:serviceaccount/account:Account": ("accountId",),
    "gcp:sql/databaseInstance:DatabaseInstance": ("databaseVersion",),
    "gcp:artifactregistry/repository:Repository": ("repositoryId", "format"),
    "gcp:serviceaccount/iAMMember:IAMMember": ("member", "role", "serviceAccountId"),
    "gcp:projects/iAMMember:IAMMember": ("member", "role"),
    "gcp:storage/bucketIAMMember:BucketIAMMember": ("bucket", "member", "role"),
    "gcp:secretmanager/secretVersion:SecretVersion": ("secret", "secretData", "secretDataWoVersion"),
    "gcp:workbench/instance:Instance": (
        *("gceSetup.bootDisk", "gceSetup.containerImage", "gceSetup.dataDisks", "gceSetup.vmImage"),
        *("gceSetup.networkInterfaces", "gceSetup.serviceAccounts", "gceSetup.tags"),
        *("gceSetup.disablePublicIp", "gceSetup.enableIpForwarding"),
    ),
    "kubernetes:batch/v1:Job": ("spec",),
    "kubernetes:jobset.x-k8s.io/v1alpha2:JobSet": ("spec",),
}
"""Fields that a resource cannot change in place, beside those that the SDK's documentation tells; of Workbench and
pools as terraform-provider-google marks them (ForceNew).
"""


STORAGE_AGENT = "gcp:storage/getProjectServiceAccount:getProjectServiceAccount"
NUMBER = "123456789012"


def storage_agent(given: Mapping[str, Any]) -> dict[str, Any]:
    """The account by which Cloud Storage encrypts in a project, and whose name tells the project's number."""
    email = f"service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com"
    return {"emailAddress": email, "member": f"serviceAccount:{email}", "id": email, "project": given["project"]}


def replaces(token: str, field: str, old: Any, new: Any, documented: list[str]) -> bool:
    """Whether a change of the field makes the resource anew."""
    if token.startswith("kubernetes:"):
        return field in REPLACES.get(token, ())
    within = [place.split(".") for place in (*REPLACES[""], *REPLACES.get(token, ()), *documented)]
    return any(_at(old, place[1:]) != _at(new, place[1:]) for place in within if place[0] == field)


def _at(value: Any, place: list[str]) -> Any:
    for name in place:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def identity(token: str, urn: str, inputs: Mapping[str, Any]) -> str:
    """The id, the same for the same inputs, as Google's and Kubernetes' are."""
    if token.startswith("kubernetes:"):
        metadata = inputs.get("metadata") or {}
        metadata = metadata if isinstance(metadata, dict) else {}
        return f"{token.partition(':')[2]}:{metadata.get('namespace', '')}/{metadata.get('name')}"
    project = inputs.get("project") or os.environ.get("GOOGLE_PROJECT") or PROJECT
    place = inputs.get("location") or inputs.get("region") or inputs.get("zone") or "global"
    kind = token.rpartition(":")[2]
    if "IAMMember" in kind or kind in ("IamMember", "RepositoryIamMember"):
        parts = [str(inputs[key]) for key in sorted(inputs) if not key.startswith("__")]
        return f"{kind}/" + hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]
    name = next((inputs[field] for field in NAME_FIELDS if isinstance(inputs.get(field), str)), urn.rpartition("::")[2])
    parent = inputs.get("cluster") or inputs.get("instance") or inputs.get("network") or inputs.get("router") or ""
    parent = f"{str(parent).rpartition('/')[2]}/" if kind in ("NodePool", "Database", "User", "RouterNat") else ""
    return f"projects/{project}/locations/{place}/{kind}/{parent}{name}"


def outputs(token: str, id_: str, inputs: Mapping[str, Any], known: Mapping[str, Any] | None) -> dict[str, Any]:
    """The computed outputs: a table for what programs use, and a link for what has one."""
    mark = hashlib.sha256(id_.encode()).hexdigest()
    if token.startswith("kubernetes:"):
        given = inputs.get("metadata", {})
        if not isinstance(given, dict):
            return {}
        metadata = {**given, "uid": mark[:32], "resourceVersion": "1", "generation": 1}
        return {"metadata": metadata, "status": {}}
    project = inputs.get("project") or os.environ.get("GOOGLE_PROJECT") or PROJECT
    name = inputs.get("name") or inputs.get("accountId") or inputs.get("repositoryId") or ""
    email = f"{inputs.get('accountId')}@{project}.iam.gserviceaccount.com"
    special: dict[str, dict[str, Any]] = {
        "gcp:container/cluster:Cluster": {
            "endpoint": "127.0.0.1",
            "controlPlaneEndpointsConfig": _with_name(inputs.get("controlPlaneEndpointsConfig")),
            "masterVersion": "1.34.1-gke.1",
            "masterAuth": {"clusterCaCertificate": base64.b64encode(b"certificate").decode()},
            # Computed defaults, which a careless program sees as a change.
            "nodeVersion": "1.34.1-gke.1",
        },
        "gcp:serviceaccount/account:Account": {
            "email": email,
            "member": f"serviceAccount:{email}",
            "name": id_,
            "uniqueId": str(int(mark[:12], 16)),
        },
        "gcp:cloudrunv2/service:Service": {
            "uri": f"https://{name}-{mark[:8]}.a.run.app",
            "latestReadyRevision": f"{name}-00001",
        },
        "gcp:secretmanager/secretVersion:SecretVersion": {"version": "1"},
        "gcp:sql/databaseInstance:DatabaseInstance": {
            "connectionName": f"{project}:{inputs.get('region')}:{name}",
            "privateIpAddress": "10.60.0.3",
        },
        "gcp:storage/bucket:Bucket": {"url": f"gs://{name}"},
        "gcp:workbench/instance:Instance": {"proxyUri": f"https://{mark[:12]}.notebooks.googleusercontent.com"},
        "gcp:artifactregistry/repository:Repository": {
            "registryUri": f"{inputs.get('location')}-docker.pkg.dev/{project}/{name}"
        },
        "gcp:compute/address:Address": {"address": inputs.get("address") or "10.40.0.9"},
        "gcp:compute/globalAddress:GlobalAddress": {"address": inputs.get("address") or "10.60.0.0"},
        "gcp:organizations/project:Project": {"number": NUMBER},
        "gcp:projects/serviceIdentity:ServiceIdentity": _agent(str(inputs.get("service"))),
    }
    found = special.get(token, {})
    declared = (known or {}).get("outputs", {})
    if "selfLink" in declared:
        found = {"selfLink": f"https://www.googleapis.com/{id_}", **found}
    if "effectiveLabels" in declared:
        found = {"effectiveLabels": inputs.get("labels") or inputs.get("resourceLabels") or {}, **found}
    if "name" in declared and "name" not in inputs:
        found = {"name": id_, **found}
    return {"project": project, **found} if "project" in declared else found


def _agent(service: str) -> dict[str, Any]:
    email = f"service-{NUMBER}@gcp-sa-{service.partition('.')[0]}.iam.gserviceaccount.com"
    return {"email": email, "member": f"serviceAccount:{email}"}


def _with_name(given: Any) -> dict[str, Any]:
    """The control plane's endpoints, with the name under which a test serves it."""
    found = dict(given or {})
    name = os.environ.get("PENSTOCK_STANDIN_KUBERNETES", "gke-control-plane.example")
    return {**found, "dnsEndpointConfig": {**found.get("dnsEndpointConfig", {}), "endpoint": name}}
