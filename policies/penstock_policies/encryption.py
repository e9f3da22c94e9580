"""Encrypted on the way and where it lies, with one's own key where the stack names one; no secret in plain text."""

import re
from collections.abc import Callable, Iterator

from penstock_policies.pods import containers, pods
from penstock_policies.resource import UNKNOWN, Resource, Rule, at

SECRET = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIALS?)$", re.IGNORECASE)
TYPES = {"gcp:compute/targetHttpProxy:TargetHttpProxy", "gcp:compute/regionTargetHttpProxy:RegionTargetHttpProxy"}


def _encrypted(resource: Resource) -> Iterator[str]:
    yield from JUDGES.get(resource.type, _nothing)(resource)
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


def _bucket(resource: Resource) -> Iterator[str]:
    wanted = resource.settings.encryption_key
    if wanted and resource.at("encryption.defaultKmsKeyName") not in (wanted, UNKNOWN):
        yield f"is not encrypted with the stack's own key {wanted}: encryption: {{default_kms_key_name: ...}}"


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
    "gcp:storage/bucket:Bucket": _bucket,
    "gcp:sql/databaseInstance:DatabaseInstance": _database,
    "gcp:container/nodePool:NodePool": _pool,
}
RULE = Rule("encryption", "Encrypted on the way and at rest, and no secret in plain text.", _encrypted)
