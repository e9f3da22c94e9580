"""Who runs: an account of its own, never a default one."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from penstock_policies.images import WORKSPACES
from penstock_policies.pods import pods
from penstock_policies.resource import UNKNOWN, Resource, Rule, at, listed

GOOGLE_S_OWN = re.compile(r"^default$|-compute@developer\.gserviceaccount\.com$|@appspot\.gserviceaccount\.com$")
ADVICE = "give it a service account of its own, with the roles it needs"


def _accounts(resource: Resource) -> Iterator[str]:
    for account in WHO.get(resource.type, _nobody)(resource):
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


def _nobody(_resource: Resource) -> list[Any]:
    return []


def _cluster(resource: Resource) -> list[Any]:
    # Its first pool goes at once, unless it is kept.
    return [] if resource.at("removeDefaultNodePool") in (True, UNKNOWN) else [resource.at("nodeConfig.serviceAccount")]


def _machine(path: str) -> Callable[[Resource], list[Any]]:
    def accounts(resource: Resource) -> list[Any]:
        given = resource.at(path)
        return [UNKNOWN] if given is UNKNOWN else [at(each, "email") for each in listed(given)] or [None]

    return accounts


WHO: dict[str, Callable[[Resource], list[Any]]] = {
    "gcp:container/cluster:Cluster": _cluster,
    "gcp:container/nodePool:NodePool": lambda r: [r.at("nodeConfig.serviceAccount")],
    "gcp:cloudfunctionsv2/function:Function": lambda r: [r.at("serviceConfig.serviceAccountEmail")],
    "gcp:cloudrunv2/service:Service": lambda r: [r.at("template.serviceAccount")],
    "gcp:cloudrunv2/job:Job": lambda r: [r.at("template.template.serviceAccount")],
    "gcp:workbench/instance:Instance": _machine("gceSetup.serviceAccounts"),
    "gcp:compute/instance:Instance": lambda r: [r.at("serviceAccount.email")],
    "gcp:compute/instanceTemplate:InstanceTemplate": lambda r: [r.at("serviceAccount.email")],
    "gcp:dataflow/job:Job": lambda r: [r.at("serviceAccountEmail")],
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": lambda r: [r.at("serviceAccountEmail")],
}
RULE = Rule("no-default-account", "Whatever runs does so as an account of its own.", _accounts)
