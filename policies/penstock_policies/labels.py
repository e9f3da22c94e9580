"""Labels on what costs: bills are split by them."""

from collections.abc import Iterator, Mapping

from penstock_policies.pods import TEMPLATES
from penstock_policies.resource import UNKNOWN, Resource, Rule, at, listed

NEEDED = ("environment", "run", "owner", "model")
WHERE = {
    "gcp:artifactregistry/repository:Repository": "labels",
    "gcp:cloudfunctionsv2/function:Function": "labels",
    "gcp:cloudrunv2/job:Job": "labels",
    "gcp:cloudrunv2/service:Service": "labels",
    "gcp:cloudrunv2/workerPool:WorkerPool": "labels",
    "gcp:compute/address:Address": "labels",
    "gcp:compute/disk:Disk": "labels",
    "gcp:compute/globalAddress:GlobalAddress": "labels",
    "gcp:compute/instance:Instance": "labels",
    "gcp:compute/instanceTemplate:InstanceTemplate": "labels",
    "gcp:container/cluster:Cluster": "resourceLabels",
    "gcp:container/nodePool:NodePool": "nodeConfig.resourceLabels",
    "gcp:dataflow/flexTemplateJob:FlexTemplateJob": "labels",
    "gcp:dataflow/job:Job": "labels",
    "gcp:monitoring/alertPolicy:AlertPolicy": "userLabels",
    "gcp:monitoring/notificationChannel:NotificationChannel": "userLabels",
    "gcp:pubsub/subscription:Subscription": "labels",
    "gcp:pubsub/topic:Topic": "labels",
    "gcp:secretmanager/secret:Secret": "labels",
    "gcp:sql/databaseInstance:DatabaseInstance": "settings.userLabels",
    "gcp:storage/bucket:Bucket": "labels",
    "gcp:workbench/instance:Instance": "labels",
}
"""Where each type of resource bears its labels; a type that is not here bears none."""
WHOSE = ("app.kubernetes.io/name", "app.kubernetes.io/instance")
"""Of pods: what they belong to. On Google Cloud a job's pods bear the others besides."""


def _labelled(resource: Resource) -> Iterator[str]:
    if resource.type in WHERE:
        given = resource.at(WHERE[resource.type])
        missing = [] if given is UNKNOWN else [name for name in NEEDED if not at(given, name)]
        if missing:
            yield f"lacks the {_words(missing)} in {WHERE[resource.type]}: its cost is nobody's without"
    for where, given in _of_pods(resource):
        missing = [name for name in WHOSE if isinstance(given, Mapping) and not given.get(name)]
        if missing or given is None:
            yield f"{where}: lacks the {_words(missing or WHOSE)}: no policy, selector or bill knows it without"


def _of_pods(resource: Resource) -> Iterator[tuple[str, object]]:
    kind = resource.type.rpartition(":")[2]
    if not resource.type.startswith("kubernetes:"):
        return
    if TEMPLATES.get(kind, "").endswith("template.spec") and resource.at(TEMPLATES[kind]) is not None:
        where = TEMPLATES[kind].removesuffix("spec") + "metadata.labels"
        yield where, resource.at(where)
    for job in listed(resource.at("spec.replicatedJobs")) if kind == "JobSet" else ():
        yield f"role {at(job, 'name')}", at(job, "template.spec.template.metadata.labels")


def _words(missing: "tuple[str, ...] | list[str]") -> str:
    return f"label{'s' if len(missing) > 1 else ''} {', '.join(missing)}"


RULE = Rule("labels", f"What bears labels has {', '.join(NEEDED)}; a pod says what it belongs to.", _labelled)
