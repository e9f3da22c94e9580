"""What a run that was killed had begun to make on Google Cloud, as Google knows it. Pure.

Google goes on when nobody waits any more: the next run would ask for the same once again, and be told that it exists.
"""

from typing import Any

NAMES = {
    "gcp:artifactregistry/repository:Repository": "projects/{project}/locations/{location}/repositories/{repositoryId}",
    "gcp:cloudfunctionsv2/function:Function": "projects/{project}/locations/{location}/functions/{name}",
    "gcp:cloudrunv2/service:Service": "projects/{project}/locations/{location}/services/{name}",
    "gcp:compute/address:Address": "projects/{project}/regions/{region}/addresses/{name}",
    "gcp:compute/firewall:Firewall": "projects/{project}/global/firewalls/{name}",
    "gcp:compute/globalAddress:GlobalAddress": "projects/{project}/global/addresses/{name}",
    "gcp:compute/network:Network": "projects/{project}/global/networks/{name}",
    "gcp:compute/resourcePolicy:ResourcePolicy": "projects/{project}/regions/{region}/resourcePolicies/{name}",
    "gcp:compute/router:Router": "projects/{project}/regions/{region}/routers/{name}",
    "gcp:compute/routerNat:RouterNat": "projects/{project}/regions/{region}/routers/{router}/{name}",
    "gcp:compute/subnetwork:Subnetwork": "projects/{project}/regions/{region}/subnetworks/{name}",
    "gcp:container/cluster:Cluster": "projects/{project}/locations/{location}/clusters/{name}",
    "gcp:container/nodePool:NodePool": "{project}/{location}/{cluster}/{name}",
    "gcp:iam/workloadIdentityPool:WorkloadIdentityPool": (
        "projects/{project}/locations/global/workloadIdentityPools/{workloadIdentityPoolId}"
    ),
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider": (
        "projects/{project}/locations/global/workloadIdentityPools/{workloadIdentityPoolId}"
        "/providers/{workloadIdentityPoolProviderId}"
    ),
    "gcp:projects/iAMCustomRole:IAMCustomRole": "projects/{project}/roles/{roleId}",
    "gcp:pubsub/topic:Topic": "projects/{project}/topics/{name}",
    "gcp:secretmanager/secret:Secret": "projects/{project}/secrets/{secretId}",
    "gcp:serviceaccount/account:Account": (
        "projects/{project}/serviceAccounts/{accountId}@{project}.iam.gserviceaccount.com"
    ),
    "gcp:sql/database:Database": "projects/{project}/instances/{instance}/databases/{name}",
    "gcp:sql/databaseInstance:DatabaseInstance": "projects/{project}/instances/{name}",
    "gcp:sql/user:User": "{project}/{instance}/{name}",
    "gcp:storage/bucket:Bucket": "{name}",
    "gcp:workbench/instance:Instance": "projects/{project}/locations/{location}/instances/{name}",
}
"""How a thing is named to who takes it over, of those that have a name of ours, which can be given once."""


def taken_over(deployment: dict[str, Any], project: str) -> list[str]:
    """Enters what was begun into an exported stack as if it was there, for a refresh to ask whether it is; its URNs."""
    resources: list[dict[str, Any]] = deployment.setdefault("resources", [])
    pending: list[dict[str, Any]] = deployment.get("pending_operations") or []
    there = {each["urn"] for each in resources}
    found: list[str] = []
    for operation in pending:
        begun: dict[str, Any] = operation["resource"]
        inputs: dict[str, Any] = begun.get("inputs") or {}
        if operation["type"] != "creating" or begun["type"] not in NAMES or begun["urn"] in there:
            continue
        try:
            name = NAMES[begun["type"]].format_map({"project": project, **inputs})
        except KeyError:
            # It stands where somebody else's program has not said it does.
            continue
        # What Google does not tell, such as whether it may be deleted, is as the program had it.
        resources.append({**begun, "id": name, "outputs": inputs})
        found.append(begun["urn"])
    return found
