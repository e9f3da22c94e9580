"""Nothing is reachable by everybody: buckets, machines, databases, services, rules of firewalls."""

from collections.abc import Callable, Iterator, Mapping

from penstock_policies.resource import UNKNOWN, Resource, Rule, at, listed

EVERYBODY = ("allUsers", "allAuthenticatedUsers")
ANYWHERE = ("0.0.0.0/0", "::/0")
LOOPBACK = ("127.0.0.1", "::1", "localhost", None, UNKNOWN)
VISIBILITY = "networking.knative.dev/visibility"
INTERNAL = ("networking.gke.io/load-balancer-type", "cloud.google.com/load-balancer-type")


def _exposed(resource: Resource) -> Iterator[str]:
    yield from JUDGES.get(resource.type, _nothing)(resource)
    if resource.type.startswith("gcp:"):
        named = [resource.at("member"), *listed(resource.at("members")), resource.at("entity")]
        for member in named:
            if member in EVERYBODY:
                yield f"is granted to {member}: name the groups and accounts that need it"


def _nothing(_resource: Resource) -> Iterator[str]:
    return iter(())


def _bucket(resource: Resource) -> Iterator[str]:
    if resource.at("publicAccessPrevention") not in ("enforced", UNKNOWN):
        yield "may be opened to everybody: public_access_prevention: enforced"
    if resource.at("uniformBucketLevelAccess") not in (True, UNKNOWN):
        yield "has access lists by object, which nobody sees: uniform_bucket_level_access: true"


def _firewall(resource: Resource) -> Iterator[str]:
    if resource.at("direction") == "EGRESS" or resource.at("disabled") is True or not resource.at("allows"):
        return
    ranges = listed(resource.at("sourceRanges"))
    sources = [resource.at(field) for field in ("sourceRanges", "sourceTags", "sourceServiceAccounts")]
    if any(each in ANYWHERE for each in ranges) or not any(sources):
        yield "lets the whole internet in: name source ranges, tags or service accounts"


def _cluster(resource: Resource) -> Iterator[str]:
    if resource.at("privateClusterConfig.enablePrivateNodes") not in (True, UNKNOWN):
        yield "has nodes with public addresses: private_cluster_config: {enable_private_nodes: true}"
    addressed = resource.at("controlPlaneEndpointsConfig.ipEndpointsConfig.enabled")
    private = resource.at("privateClusterConfig.enablePrivateEndpoint")
    blocks = listed(resource.at("masterAuthorizedNetworksConfig.cidrBlocks"))
    limited = blocks and not any(at(block, "cidrBlock") in ANYWHERE for block in blocks)
    if addressed not in (False, UNKNOWN) and private not in (True, UNKNOWN) and not limited:
        yield "has a control plane that every address reaches: reach it by its DNS name, ip_endpoints_config off"


def _pool(resource: Resource) -> Iterator[str]:
    if resource.at("networkConfig.enablePrivateNodes") not in (True, UNKNOWN):
        yield "has nodes with public addresses: network_config: {enable_private_nodes: true}"


def _machine(resource: Resource) -> Iterator[str]:
    if any(at(each, "accessConfigs") for each in listed(resource.at("networkInterfaces"))):
        yield "has a public address: take access_configs out, the NAT is the way out"


def _notebook(resource: Resource) -> Iterator[str]:
    if resource.at("gceSetup.disablePublicIp") not in (True, UNKNOWN):
        yield "has a public address: gce_setup: {disable_public_ip: true}"


def _database(resource: Resource) -> Iterator[str]:
    if resource.at("settings.ipConfiguration.ipv4Enabled") not in (False, UNKNOWN):
        yield "has a public address: ip_configuration: {ipv4_enabled: false} and a private_network"
    for network in listed(resource.at("settings.ipConfiguration.authorizedNetworks")):
        if at(network, "value") in ANYWHERE:
            yield "lets every address connect: take that authorized network out"


def _cloud_run(resource: Resource) -> Iterator[str]:
    if resource.at("invokerIamDisabled") is True:
        yield "answers whoever calls: take invoker_iam_disabled out, and name callers"
    if resource.at("ingress") in (None, "INGRESS_TRAFFIC_ALL") and not resource.settings.internet:
        yield (
            "is reached from the internet: ingress INGRESS_TRAFFIC_INTERNAL_ONLY, or, where callers are outside, "
            "the setting `gcp.internet: true` (Google still asks who calls)"
        )


def _function(resource: Resource) -> Iterator[str]:
    if resource.at("serviceConfig.ingressSettings") in (None, "ALLOW_ALL"):
        yield "is reached from the internet: service_config: {ingress_settings: ALLOW_INTERNAL_ONLY}"


def _service(resource: Resource) -> Iterator[str]:
    kind = resource.at("spec.type")
    annotations = resource.at("metadata.annotations")
    annotations = annotations if isinstance(annotations, Mapping) else {}
    internal = any(str(annotations.get(name)).lower() == "internal" for name in INTERNAL)
    if kind == "LoadBalancer" and not internal:
        yield "is a load balancer on the internet: type ClusterIP, or the annotation of an internal one"
    if kind == "NodePort":
        yield "opens a port of every node: type ClusterIP"
    if resource.at("spec.externalIPs"):
        yield "takes traffic for addresses that are not its own: take externalIPs out"


def _knative(resource: Resource) -> Iterator[str]:
    labels = resource.at("metadata.labels") or {}
    visible = labels.get(VISIBILITY) if isinstance(labels, Mapping) else UNKNOWN
    if visible not in ("cluster-local", UNKNOWN):
        yield f"has an address outside of the cluster: the label {VISIBILITY}: cluster-local"


def _ingress(resource: Resource) -> Iterator[str]:
    named = resource.at("spec.ingressClassName") or resource.at("spec.gatewayClassName")
    if named is not UNKNOWN and not any(word in str(named) for word in ("internal", "rilb")):
        yield f"is a way in from the internet ({named}): use an internal class"


def _network_policy(resource: Resource) -> Iterator[str]:
    for rule in listed(resource.at("spec.ingress")):
        if any(at(peer, "ipBlock.cidr") in ANYWHERE for peer in listed(at(rule, "from"))):
            yield "lets every address in: name pods and namespaces"


def _local(resource: Resource) -> Iterator[str]:
    if resource.at("host") not in LOOPBACK:
        yield f"listens on {resource.at('host')}: on this machine a server binds 127.0.0.1"


JUDGES: dict[str, Callable[[Resource], Iterator[str]]] = {
    "gcp:storage/bucket:Bucket": _bucket,
    "gcp:compute/firewall:Firewall": _firewall,
    "gcp:container/cluster:Cluster": _cluster,
    "gcp:container/nodePool:NodePool": _pool,
    "gcp:compute/instance:Instance": _machine,
    "gcp:compute/instanceTemplate:InstanceTemplate": _machine,
    "gcp:workbench/instance:Instance": _notebook,
    "gcp:sql/databaseInstance:DatabaseInstance": _database,
    "gcp:cloudrunv2/service:Service": _cloud_run,
    "gcp:cloudfunctionsv2/function:Function": _function,
    "kubernetes:core/v1:Service": _service,
    "kubernetes:serving.knative.dev/v1:Service": _knative,
    "kubernetes:networking.k8s.io/v1:Ingress": _ingress,
    "kubernetes:gateway.networking.k8s.io/v1:Gateway": _ingress,
    "kubernetes:networking.k8s.io/v1:NetworkPolicy": _network_policy,
    "pulumi-python:dynamic/penstock:LocalService": _local,
}
RULE = Rule("no-public-exposure", "Nothing can be reached or read by everybody.", _exposed)
