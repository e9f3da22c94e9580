"""In a protected stack, and in any called prod, what holds data or serves is neither deleted nor replaced unasked."""

from collections.abc import Callable, Iterator

from penstock_policies.resource import UNKNOWN, Resource, Rule

KEPT = {
    "gcp:container/cluster:Cluster": "a cluster",
    "gcp:container/nodePool:NodePool": "a node pool",
    "gcp:storage/bucket:Bucket": "a bucket",
    "gcp:sql/databaseInstance:DatabaseInstance": "a database",
    "gcp:cloudrunv2/service:Service": "an endpoint",
    "gcp:compute/address:Address": "an endpoint's address",
}
"""The types are those of `penstock.gcp.pins`; a test compares them."""


def _approved(resource: Resource) -> Iterator[str]:
    settings = resource.settings
    if not settings.protect or resource.type not in KEPT or resource.protected:
        return
    if resource.name not in settings.approved:
        yield (
            f"is {KEPT[resource.type]} that a deployment may replace or delete: protect it (the resource option "
            f"`protect`), or approve by name: pulumi config set --path 'gcp.approve_replacement[0]' {resource.name}"
        )


def _protected(resource: Resource) -> Iterator[str]:
    if resource.settings.protect and resource.name not in resource.settings.approved:
        yield from JUDGES.get(resource.type, _nothing)(resource)


def _nothing(_resource: Resource) -> Iterator[str]:
    return iter(())


def _bucket(resource: Resource) -> Iterator[str]:
    if resource.at("forceDestroy") is True:
        yield "goes with all that is in it: force_destroy: false, by the setting `gcp.protect: true`"
    if resource.at("versioning.enabled") not in (True, UNKNOWN):
        yield "forgets what is overwritten: versioning: {enabled: true}"


def _deletion(resource: Resource) -> Iterator[str]:
    if resource.at("deletionProtection") not in (True, UNKNOWN):
        yield "may be deleted by anybody: deletion_protection: true, by the setting `gcp.protect: true`"


def _database(resource: Resource) -> Iterator[str]:
    yield from _deletion(resource)
    if resource.at("settings.deletionProtectionEnabled") not in (True, UNKNOWN):
        yield "may be deleted in the console: settings: {deletion_protection_enabled: true}"
    if resource.at("settings.backupConfiguration.enabled") not in (True, UNKNOWN):
        yield "has no backups: backup_configuration: {enabled: true}"


JUDGES: dict[str, Callable[[Resource], Iterator[str]]] = {
    "gcp:storage/bucket:Bucket": _bucket,
    "gcp:container/cluster:Cluster": _deletion,
    "gcp:cloudrunv2/service:Service": _deletion,
    "gcp:sql/databaseInstance:DatabaseInstance": _database,
}
APPROVAL = Rule(
    "replacement-approval",
    "In a protected stack a cluster, pool, bucket, database or endpoint is replaced with a named approval only.",
    _approved,
)
DATA = Rule("protected-data", "In a protected stack what holds data survives mistakes.", _protected)
