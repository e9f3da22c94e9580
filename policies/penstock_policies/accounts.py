"""Who runs: an account of its own, never a default one."""

import re
from collections.abc import Callable, Iterator

from penstock_policies.images import WORKSPACES
from penstock_policies.pods import pods
from penstock_policies.resource import UNKNOWN, Resource, Rule, every

GOOGLE_S_OWN = re.compile(r"^default$|-compute@developer\.gserviceaccount\.com$|@appspot\.gserviceaccount\.com$")
ADVICE = "give it a service account of its own, with the roles it needs"


def _accounts(resource: Resource) -> Iterator[str]:
    for path, asked in WHO.get(resource.type, {}).items():
        for account in every(resource.properties, path) if asked(resource) else ():
            if account is not UNKNOWN and (not account or GOOGLE_S_OWN.search(str(account))):
                yield f"runs as {account or 'nobody in particular'}, which is Google's default account: {ADVICE}"
    for where, spec in pods(resource):
        if spec.get("serviceAccountName") in (None, "", "default"):
            yield f"{where}: runs as the namespace's default account: {ADVICE}"
    if resource.type in WORKSPACES and resource.at("spec.serviceAccountName") in (None, "", "default"):
        yield f"runs its workspace as the namespace's default account: {ADVICE}"
    member = resource.at("member")
    if isinstance(member, str) and member.endswith("/default]"):
        yield f"lets {member} act as it, the account of every pod that names none: name another account"


def _always(_resource: Resource) -> bool:
    return True


def _with(block: str) -> Callable[[Resource], bool]:
    return lambda resource: bool(resource.at(block))


def _first_pool(resource: Resource) -> bool:
    # It goes at once, unless it is kept.
    return resource.at("removeDefaultNodePool") not in (True, UNKNOWN)


WHO: dict[str, dict[str, Callable[[Resource], bool]]] = {
    "gcp:container/cluster:Cluster": {
        "nodeConfig.serviceAccount": _first_pool,
        "clusterAutoscaling.autoProvisioningDefaults.serviceAccount": _with("clusterAutoscaling.enabled"),
    },
    "gcp:container/nodePool:NodePool": {"nodeConfig.serviceAccount": _always},
    "gcp:cloudfunctionsv2/function:Function": {
        "buildConfig.serviceAccount": _always,
        "serviceConfig.serviceAccountEmail": _always,
        "eventTrigger.serviceAccountEmail": _with("eventTrigger"),
    },
    "gcp:cloudrunv2/service:Service": {
        "template.serviceAccount": _always,
        "buildConfig.serviceAccount": _with("buildConfig"),
    },
    "gcp:cloudrunv2/job:Job": {"template.template.serviceAccount": _always},
    "gcp:cloudrunv2/workerPool:WorkerPool": {"template.serviceAccount": _always},
    "gcp:workbench/instance:Instance": {"gceSetup.serviceAccounts.*.email": _always},
    "gcp:compute/instance:Instance": {"serviceAccount.email": _always},
    "gcp:compute/instanceTemplate:InstanceTemplate": {"serviceAccount.email": _always},
    "gcp:dataflow/job:Job": {"serviceAccountEmail": _always},
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": {"serviceAccountEmail": _always},
}
"""Where each type says who it runs as, and when that is asked."""
RULE = Rule("no-default-account", "Whatever runs does so as an account of its own.", _accounts)
