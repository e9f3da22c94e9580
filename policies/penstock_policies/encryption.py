"""Encrypted on the way and where it lies, with one's own key where the stack names one; no secret in plain text."""

import re
from collections.abc import Callable, Iterator

from penstock_policies.pods import containers, pods
from penstock_policies.resource import UNKNOWN, Resource, Rule, at, every

SECRET = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIALS?)$", re.IGNORECASE)
TYPES = {"gcp:compute/targetHttpProxy:TargetHttpProxy", "gcp:compute/regionTargetHttpProxy:RegionTargetHttpProxy"}


def _encrypted(resource: Resource) -> Iterator[str]:
    yield from JUDGES.get(resource.type, _nothing)(resource)
    yield from _own_key(resource)
    if resource.type in TYPES:
        yield "speaks plain HTTP: use an HTTPS proxy with a certificate"
    for where, spec in pods(resource):
        for container in containers(spec):
            for each in container.get("env") or ():
                name = at(each, "name")
                if SECRET.search(str(name)) and at(each, "value"):
                    yield f"{where}: has the secret {name} in plain text: take it from a Secret by valueFrom"


def _nothing(_resource: Resource) -> Iterator[str]:
    return iter(())


OWN_KEY: dict[str, tuple[tuple[str, str], ...]] = {
    "gcp:storage/bucket:Bucket": (("encryption.defaultKmsKeyName", "encryption: {default_kms_key_name: ...}"),),
    "gcp:sql/databaseInstance:DatabaseInstance": (("encryptionKeyName", "encryption_key_name"),),
    "gcp:artifactregistry/repository:Repository": (("kmsKeyName", "kms_key_name"),),
    "gcp:container/cluster:Cluster": (("databaseEncryption.keyName", "database_encryption: {key_name: ...}"),),
    "gcp:secretmanager/secret:Secret": (
        (
            "replication.userManaged.replicas.*.customerManagedEncryption.kmsKeyName",
            "replication: {user_managed: {replicas: [{customer_managed_encryption: {kms_key_name: ...}}]}}",
        ),
    ),
    "gcp:container/nodePool:NodePool": (("nodeConfig.bootDiskKmsKey", "node_config: {boot_disk_kms_key: ...}"),),
    "gcp:workbench/instance:Instance": (
        ("gceSetup.bootDisk.kmsKey", "gce_setup: {boot_disk: {kms_key: ...}}"),
        ("gceSetup.dataDisks.kmsKey", "gce_setup: {data_disks: {kms_key: ...}}"),
    ),
    "gcp:compute/disk:Disk": (("diskEncryptionKey.kmsKeySelfLink", "disk_encryption_key: {kms_key_self_link: ...}"),),
    "gcp:compute/instance:Instance": (("bootDisk.kmsKeySelfLink", "boot_disk: {kms_key_self_link: ...}"),),
    "gcp:compute/instanceTemplate:InstanceTemplate": (
        ("disks.*.diskEncryptionKey.kmsKeySelfLink", "disks: [{disk_encryption_key: {kms_key_self_link: ...}}]"),
    ),
    "gcp:dataflow/job:Job": (("kmsKeyName", "kms_key_name"),),
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": (("kmsKeyName", "kms_key_name"),),
}
"""Where the key stands of what keeps data, and how it is written."""


def _own_key(resource: Resource) -> Iterator[str]:
    wanted = resource.settings.encryption_key
    for path, written in OWN_KEY.get(resource.type, ()) if wanted else ():
        if any(key not in (wanted, UNKNOWN) for key in every(resource.properties, path)):
            yield f"is not encrypted with the stack's own key {wanted}: {written}"


def _database(resource: Resource) -> Iterator[str]:
    if resource.at("settings.ipConfiguration.sslMode") not in (
        "ENCRYPTED_ONLY",
        "TRUSTED_CLIENT_CERTIFICATE_REQUIRED",
        UNKNOWN,
    ):
        yield "takes connections in plain text: ip_configuration: {ssl_mode: ENCRYPTED_ONLY}"


def _pool(resource: Resource) -> Iterator[str]:
    if resource.at("nodeConfig.shieldedInstanceConfig.enableSecureBoot") not in (True, UNKNOWN):
        yield "has nodes that boot what nobody signed: shielded_instance_config: {enable_secure_boot: true}"
    if resource.at("nodeConfig.kubeletConfig.insecureKubeletReadonlyPortEnabled") not in ("FALSE", UNKNOWN):
        yield "has kubelets that answer in plain text: insecure_kubelet_readonly_port_enabled: FALSE"


JUDGES: dict[str, Callable[[Resource], Iterator[str]]] = {
    "gcp:sql/databaseInstance:DatabaseInstance": _database,
    "gcp:container/nodePool:NodePool": _pool,
}
RULE = Rule("encryption", "Encrypted on the way and at rest, and no secret in plain text.", _encrypted)
