"""Least privilege: no basic role, no administrator, no wildcard, no key."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from penstock_policies.resource import UNKNOWN, Resource, Rule, at, listed

BASIC = ("roles/owner", "roles/editor", "roles/viewer")
ADMINISTRATOR = re.compile(r"^roles/.*admin$", re.IGNORECASE)
ACTING = ("roles/iam.serviceAccountUser", "roles/iam.serviceAccountTokenCreator", "roles/iam.workloadIdentityUser")
WHOLE = ("projects", "folders", "organizations")
"""Modules of the SDK whose grants reach everything below."""
RIGHTS = ("escalate", "bind", "impersonate")


def _privileged(resource: Resource) -> Iterator[str]:
    if resource.type.startswith("gcp:"):
        yield from _google(resource)
    if resource.type.startswith("kubernetes:rbac.authorization.k8s.io/"):
        yield from _kubernetes(resource)


def _google(resource: Resource) -> Iterator[str]:
    _, module, kind = resource.type.split(":")
    whole = module.partition("/")[0] in WHOLE
    role = resource.at("role")
    if "iam" in kind.lower() and isinstance(role, str):
        if role in BASIC:
            yield f"grants {role}, which is nearly everything: grant the role of the one service it is for"
        elif ADMINISTRATOR.match(role):
            yield f"grants {role}: grant a role that uses the service and does not rule it"
        elif whole and role in ACTING:
            yield f"grants {role} on all accounts: grant it on the one account"
    if whole and kind in ("IAMBinding", "IAMPolicy"):
        yield f"is an {kind}, which takes the rights of all others away: grant by IAMMember"
    if kind == "IAMCustomRole" and any("*" in str(each) for each in listed(resource.at("permissions"))):
        yield "has a permission with a wildcard: name each permission"
    if resource.type == "gcp:serviceaccount/key:Key":
        yield "is a key, which never ends and can be copied: use Workload Identity, or federation from outside"
    for member in (resource.at("member"), *listed(resource.at("members"))):
        if isinstance(member, str) and member.startswith("principalSet:") and member.endswith("/*"):
            yield f"is granted to {member}, all that a pool knows: name an attribute, such as the repository"


def _kubernetes(resource: Resource) -> Iterator[str]:
    for rule in listed(resource.at("rules")):
        yield from _of_rule(rule)
    if at(resource.at("roleRef") or {}, "name") == "cluster-admin":
        yield "binds cluster-admin, which is everything: bind a role with the verbs that are needed"
    for subject in listed(resource.at("subjects")):
        if at(subject, "name") in ("system:authenticated", "system:unauthenticated", "system:anonymous"):
            yield f"is bound to {at(subject, 'name')}, which is everybody: bind it to one account"


def _of_rule(rule: Any) -> Iterator[str]:
    if not isinstance(rule, Mapping):
        return
    for field in ("apiGroups", "resources", "verbs", "nonResourceURLs"):
        if any(str(each).endswith("*") for each in listed(rule.get(field)) if each is not UNKNOWN):
            yield f"has a wildcard among its {field}: name each of them"
    rights = [each for each in listed(rule.get("verbs")) if each in RIGHTS]
    if rights:
        yield f"may {', '.join(rights)}, and so give itself any right: take that out"


RULE = Rule("least-privilege", "No owner, editor, administrator or wildcard, and no keys.", _privileged)
