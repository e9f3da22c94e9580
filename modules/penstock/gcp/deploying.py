"""The permissions that deploying an environment takes, thing by thing. Pure.

Written down on 2026-11-23 from memory of Google's public list, without a look online: one that is missing is told by
its name when Google refuses.
"""

LIFE = ("create", "delete", "get", "list", "update")
THINGS: dict[str, tuple[str, ...]] = {
    "artifactregistry.repositories": (*LIFE, "getIamPolicy", "setIamPolicy"),
    "billing.resourcebudgets": ("read", "write"),
    "cloudfunctions.functions": LIFE,
    "cloudkms.cryptoKeys": ("get", "getIamPolicy", "setIamPolicy"),
    "cloudsql.databases": LIFE,
    "cloudsql.instances": LIFE,
    "cloudsql.users": LIFE,
    "compute.addresses": ("create", "createInternal", "delete", "deleteInternal", "get", "list", "setLabels", "use"),
    "compute.firewalls": LIFE,
    "compute.globalAddresses": ("createInternal", "deleteInternal", "get", "list", "setLabels", "use"),
    "compute.networks": (*LIFE, "addPeering", "removePeering", "updatePolicy", "use"),
    "compute.routers": (*LIFE, "use"),
    "compute.subnetworks": (*LIFE, "use"),
    "container.clusterRoles": LIFE,
    "container.clusters": (*LIFE, "connect", "getCredentials"),
    "eventarc.triggers": LIFE,
    "iam.roles": LIFE,
    "iam.serviceAccounts": (*LIFE, "actAs", "getIamPolicy", "setIamPolicy"),
    "monitoring.alertPolicies": LIFE,
    "monitoring.dashboards": LIFE,
    "monitoring.notificationChannels": LIFE,
    "notebooks.instances": LIFE,
    "pubsub.topics": (*LIFE, "attachSubscription", "getIamPolicy", "setIamPolicy"),
    "run.services": (*LIFE, "getIamPolicy", "setIamPolicy"),
    "servicenetworking.services": ("addPeering", "get"),
    "secretmanager.secrets": (*LIFE, "getIamPolicy", "setIamPolicy"),
    "secretmanager.versions": ("add", "destroy", "get", "list"),
    "serviceusage.services": ("enable", "get", "list", "use"),
    "storage.buckets": (*LIFE, "getIamPolicy", "setIamPolicy"),
    "storage.objects": ("create", "delete", "get", "list", "update"),
}
READING = ("get", "list", "getIamPolicy", "read", "connect", "getCredentials")
LOOKED_AT = (
    "compute.acceleratorTypes",
    "compute.machineTypes",
    "compute.networkEndpointGroups",
    "compute.regions",
    "compute.zones",
)
"""Asked for the verdict before a deployment and for the receipt after a destroy."""
SWEPT = (
    "compute.disks",
    "compute.forwardingRules",
    "compute.instances",
    "compute.regionBackendServices",
    "compute.regionHealthChecks",
    "compute.regionNetworkEndpointGroups",
    "compute.regionTargetHttpProxies",
    "compute.regionTargetHttpsProxies",
    "compute.regionUrlMaps",
    "dataflow.jobs",
)
GRANTED = (
    "roles/artifactregistry.writer",
    "roles/cloudsql.instanceUser",
    "roles/container.defaultNodeServiceAccount",
    "roles/dataflow.developer",
    "roles/dataflow.worker",
    "roles/logging.logWriter",
)
"""The roles on the project that the modules grant, besides the guard's own."""


def deploying() -> list[str]:
    """All that an `up` and a `destroy` ask of Google."""
    return sorted({f"{thing}.{verb}" for thing, verbs in THINGS.items() for verb in verbs} | set(_asked()))


def looking() -> list[str]:
    """All that a preview and a refresh ask."""
    seen = {f"{thing}.{verb}" for thing, verbs in THINGS.items() for verb in verbs if verb in READING}
    return sorted(seen | set(_asked()))


def _asked() -> list[str]:
    # A project's own quotas come with the project, of which there is no list.
    return ["compute.projects.get", *(f"{thing}.{verb}" for thing in (*LOOKED_AT, *SWEPT) for verb in ("get", "list"))]
