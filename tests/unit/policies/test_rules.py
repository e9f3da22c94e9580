"""Every rule passes what the modules make and finds each thing that it is for."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from penstock_policies import accounts, encryption, exposure, images, labels, pack, permissions, pods, price, protection
from penstock_policies.resource import UNKNOWN
from tests.unit.policies._resources import GOOD, NOTHING, changed
from tests.unit.policies._resources import POD as RESTRICTED

CHECKOUT = Path(__file__).resolve().parents[3]
BUCKET, CLUSTER, POOL = (
    "gcp:storage/bucket:Bucket",
    "gcp:container/cluster:Cluster",
    "gcp:container/nodePool:NodePool",
)
DATABASE, RUN, NOTEBOOK = (
    "gcp:sql/databaseInstance:DatabaseInstance",
    "gcp:cloudrunv2/service:Service",
    "gcp:workbench/instance:Instance",
)
FUNCTION = "gcp:cloudfunctionsv2/function:Function"
MACHINE, FIREWALL = "gcp:compute/instance:Instance", "gcp:compute/firewall:Firewall"
GRANT, PROJECT, ACTING = (
    "gcp:storage/bucketIAMMember:BucketIAMMember",
    "gcp:projects/iAMMember:IAMMember",
    "gcp:serviceaccount/iAMMember:IAMMember",
)
POD, DEPLOYMENT, CRON, JOB_SET = (
    "kubernetes:core/v1:Pod",
    "kubernetes:apps/v1:Deployment",
    "kubernetes:batch/v1:CronJob",
    "kubernetes:jobset.x-k8s.io/v1alpha2:JobSet",
)
SERVICE, ROLE, BINDING = (
    "kubernetes:core/v1:Service",
    "kubernetes:rbac.authorization.k8s.io/v1:Role",
    "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding",
)
OPERATED, WORKSPACE = "kubernetes:pulumi.com/v1:Stack", "kubernetes:auto.pulumi.com/v1alpha1:Workspace"
KNATIVE = "kubernetes:serving.knative.dev/v1:Service"
TEMPLATE = "gcp:compute/instanceTemplate:InstanceTemplate"
RUN_JOB, WORKERS = "gcp:cloudrunv2/job:Job", "gcp:cloudrunv2/workerPool:WorkerPool"
BEAM, FLEX = "gcp:dataflow/job:Job", "gcp:dataflow/flexTemplateJob:FlexTemplateJob"
BY_RUN_ONLY = [
    ("gcp:artifactregistry/repository:Repository", "labels"),
    (RUN_JOB, "labels"),
    (WORKERS, "labels"),
    (TEMPLATE, "labels"),
    ("gcp:compute/address:Address", "labels"),
    ("gcp:compute/disk:Disk", "labels"),
    ("gcp:compute/globalAddress:GlobalAddress", "labels"),
    (MACHINE, "labels"),
    (FLEX, "labels"),
    (BEAM, "labels"),
    ("gcp:monitoring/alertPolicy:AlertPolicy", "userLabels"),
    ("gcp:monitoring/notificationChannel:NotificationChannel", "userLabels"),
    ("gcp:pubsub/subscription:Subscription", "labels"),
    ("gcp:pubsub/topic:Topic", "labels"),
    ("gcp:secretmanager/secret:Secret", "labels"),
    (NOTEBOOK, "labels"),
]
"""What bears labels besides, and where."""
DESCRIBED = [
    ("kubernetes:apps/v1:StatefulSet", "spec.template.spec"),
    ("kubernetes:apps/v1:DaemonSet", "spec.template.spec"),
    ("kubernetes:apps/v1:ReplicaSet", "spec.template.spec"),
    ("kubernetes:core/v1:ReplicationController", "spec.template.spec"),
    ("kubernetes:batch/v1:Job", "spec.template.spec"),
    (WORKSPACE, "spec.podTemplate.spec"),
]
"""What describes pods besides, and where."""
IN_JOB_SET = "spec.replicatedJobs.0.template.spec.template."
MAIN = "spec.containers.0."
CASES = {
    images.RULE: [
        (RUN, "template.containers.0.image", "registry.example.com/server:latest", "'registry.example.com/server:lat"),
        (DEPLOYMENT, "spec.template.spec.containers.0.image", "nginx", "name it by digest"),
        (CRON, "spec.jobTemplate.spec.template.spec.containers.0.image", "nginx:1", "'nginx:1'"),
        (JOB_SET, IN_JOB_SET + "spec.containers.0.image", "trainer@sha256:abc", "'trainer@sha256:abc'"),
        (POD, "spec.initContainers", [{"image": "busybox"}], "'busybox'"),
        (OPERATED, "spec.workspaceTemplate.spec.image", "pulumi/pulumi:latest", "'pulumi/pulumi:latest'"),
        (FLEX, "sdkContainerImage", "beam:2", "'beam:2'"),
        (POD, MAIN + "args", ["--sdk_container_image=beam:2"], "'beam:2'"),
        (RUN_JOB, "template.template.containers", [{"image": "nginx"}], "'nginx'"),
        (WORKERS, "template.containers", [{"image": "nginx"}], "'nginx'"),
        (WORKSPACE, "spec.image", "pulumi/pulumi:latest", "'pulumi/pulumi:latest'"),
    ],
    exposure.RULE: [
        (BUCKET, "publicAccessPrevention", "inherited", "may be opened to everybody"),
        (BUCKET, "uniformBucketLevelAccess", NOTHING, "access lists by object"),
        (GRANT, "member", "allUsers", "is granted to allUsers"),
        (RUN, "members", ["user:a@b.example", "allAuthenticatedUsers"], "is granted to allAuthenticatedUsers"),
        (RUN, "ingress", "INGRESS_TRAFFIC_ALL", "`gcp.internet: true`"),
        (RUN, "ingress", NOTHING, "is reached from the internet"),
        (RUN, "invokerIamDisabled", True, "answers whoever calls"),
        (FUNCTION, "serviceConfig.ingressSettings", "ALLOW_ALL", "is reached from the internet"),
        (FIREWALL, "sourceRanges", ["10.0.0.0/8", "0.0.0.0/0"], "lets the whole internet in"),
        (FIREWALL, "sourceTags", NOTHING, "lets the whole internet in"),
        (CLUSTER, "privateClusterConfig.enablePrivateNodes", False, "nodes with public addresses"),
        (CLUSTER, "controlPlaneEndpointsConfig", NOTHING, "control plane that every address reaches"),
        (POOL, "networkConfig", NOTHING, "nodes with public addresses"),
        (MACHINE, "networkInterfaces.0.accessConfigs", [{"natIp": ""}], "has a public address"),
        (TEMPLATE, "networkInterfaces", [{"accessConfigs": [{"natIp": ""}]}], "has a public address"),
        (NOTEBOOK, "gceSetup.disablePublicIp", False, "has a public address"),
        (DATABASE, "settings.ipConfiguration.ipv4Enabled", True, "has a public address"),
        (
            DATABASE,
            "settings.ipConfiguration.authorizedNetworks",
            [{"value": "0.0.0.0/0"}],
            "lets every address connect",
        ),
        (SERVICE, "spec.type", "LoadBalancer", "load balancer on the internet"),
        (SERVICE, "spec.type", "NodePort", "opens a port of every node"),
        (SERVICE, "spec.externalIPs", ["198.51.100.1"], "not its own"),
        (KNATIVE, "metadata.labels", {"app": "a"}, "has an address outside of the cluster"),
        (KNATIVE, "metadata.labels", NOTHING, "has an address outside of the cluster"),
        ("kubernetes:networking.k8s.io/v1:Ingress", "spec.ingressClassName", "nginx", "way in from the internet"),
        ("kubernetes:gateway.networking.k8s.io/v1:Gateway", "spec.gatewayClassName", "gke-l7-gxlb", "(gke-l7-gxlb)"),
        (
            "kubernetes:networking.k8s.io/v1:NetworkPolicy",
            "spec.ingress.0.from",
            [{"ipBlock": {"cidr": "0.0.0.0/0"}}],
            "lets every address in",
        ),
        ("pulumi-python:dynamic/penstock:LocalService", "host", "0.0.0.0", "listens on 0.0.0.0"),
    ],
    permissions.RULE: [
        (PROJECT, "role", "roles/owner", "grants roles/owner"),
        (PROJECT, "role", "roles/editor", "grants roles/editor"),
        (GRANT, "role", "roles/storage.admin", "does not rule it"),
        (PROJECT, "role", "roles/storage.objectAdmin", "does not rule it"),
        (PROJECT, "role", "roles/iam.serviceAccountTokenCreator", "on all accounts"),
        (ACTING, "member", "principalSet://iam.example/projects/1/pools/github/*", "all that a pool knows"),
        ("gcp:projects/iAMBinding:IAMBinding", "role", "roles/dataflow.worker", "takes the rights of all others"),
        ("gcp:projects/iAMCustomRole:IAMCustomRole", "permissions", ["storage.*"], "wildcard"),
        ("gcp:serviceaccount/key:Key", "serviceAccountId", "trainer", "is a key"),
        (ROLE, "rules.0.verbs", ["*"], "a wildcard among its verbs"),
        (ROLE, "rules.0.resources", ["*"], "a wildcard among its resources"),
        (ROLE, "rules.0.verbs", ["get", "escalate"], "may escalate"),
        (BINDING, "roleRef.name", "cluster-admin", "binds cluster-admin"),
        (BINDING, "subjects.0.name", "system:authenticated", "which is everybody"),
    ],
    accounts.RULE: [
        (POOL, "nodeConfig.serviceAccount", NOTHING, "Google's default account"),
        (POOL, "nodeConfig.serviceAccount", "1-compute@developer.gserviceaccount.com", "1-compute@developer"),
        (CLUSTER, "removeDefaultNodePool", False, "Google's default account"),
        (RUN, "template.serviceAccount", NOTHING, "Google's default account"),
        (CLUSTER, "clusterAutoscaling", {"enabled": True}, "Google's default account"),
        (RUN, "buildConfig", {"functionTarget": "f"}, "Google's default account"),
        (FUNCTION, "buildConfig.serviceAccount", NOTHING, "Google's default account"),
        (FUNCTION, "serviceConfig.serviceAccountEmail", NOTHING, "Google's default account"),
        (FUNCTION, "eventTrigger", {"eventType": "e"}, "Google's default account"),
        (WORKERS, "template.serviceAccount", "default", "runs as default"),
        (NOTEBOOK, "gceSetup.serviceAccounts", [], "Google's default account"),
        (MACHINE, "serviceAccount.email", "default", "runs as default"),
        (TEMPLATE, "serviceAccount.email", "default", "runs as default"),
        (RUN_JOB, "template.template.serviceAccount", "default", "runs as default"),
        (BEAM, "serviceAccountEmail", "default", "runs as default"),
        (FLEX, "serviceAccountEmail", "default", "runs as default"),
        (WORKSPACE, "spec.serviceAccountName", "default", "runs its workspace as the namespace's default account"),
        (DEPLOYMENT, "spec.template.spec.serviceAccountName", "default", "the namespace's default account"),
        (JOB_SET, IN_JOB_SET + "spec.serviceAccountName", NOTHING, "role chief: runs as the namespace's default"),
        (OPERATED, "spec.serviceAccountName", NOTHING, "the namespace's default account"),
        (ACTING, "member", "serviceAccount:acme.svc.id.goog[penstock/default]", "the account of every pod"),
    ],
    labels.RULE: [
        (BUCKET, "labels.owner", NOTHING, "lacks the label owner in labels"),
        (CLUSTER, "resourceLabels", NOTHING, "lacks the labels environment, run, owner, model"),
        (POOL, "nodeConfig.resourceLabels.run", NOTHING, "lacks the label run in nodeConfig.resourceLabels"),
        (DATABASE, "settings.userLabels.model", "", "lacks the label model"),
        (RUN, "labels.environment", NOTHING, "lacks the label environment"),
        (FUNCTION, "labels.owner", NOTHING, "lacks the label owner in labels"),
        (DEPLOYMENT, "spec.template.metadata", NOTHING, "lacks the labels app.kubernetes.io/name"),
        (JOB_SET, IN_JOB_SET + "metadata.labels", {"app.kubernetes.io/name": "x"}, "app.kubernetes.io/instance"),
        *((type_, at, {"run": "a"}, f"environment, owner, model in {at}:") for type_, at in BY_RUN_ONLY),
    ],
    encryption.RULE: [
        (DATABASE, "settings.ipConfiguration.sslMode", "ALLOW_UNENCRYPTED_AND_ENCRYPTED", "in plain text"),
        (POOL, "nodeConfig.shieldedInstanceConfig", NOTHING, "boot what nobody signed"),
        (POOL, "nodeConfig.kubeletConfig", NOTHING, "answer in plain text"),
        ("gcp:compute/targetHttpProxy:TargetHttpProxy", "urlMap", "m", "speaks plain HTTP"),
        ("gcp:compute/regionTargetHttpProxy:RegionTargetHttpProxy", "urlMap", "m", "speaks plain HTTP"),
        (POD, MAIN + "env", [{"name": "PGPASSWORD", "value": "hunter2"}], "the secret PGPASSWORD in plain text"),
    ],
    pods.RULE: [
        ("kubernetes:core/v1:Namespace", "metadata.labels", {}, "enforce=restricted"),
        (POD, "spec.hostNetwork", True, "hostNetwork shares the node"),
        (POD, "spec.hostPID", True, "hostPID shares the node"),
        (POD, "spec.volumes", [{"name": "host", "hostPath": {"path": "/"}}], "volume host is a hostPath"),
        (POD, "spec.automountServiceAccountToken", NOTHING, "gets a token"),
        (POD, "spec.securityContext.runAsNonRoot", False, "may run as root"),
        (POD, "spec.securityContext.runAsUser", 0, "may run as root"),
        (POD, "spec.securityContext.seccompProfile", {"type": "Unconfined"}, "all system calls"),
        (POD, "spec.securityContext.sysctls", [{"name": "a"}], "sets sysctls"),
        (POD, MAIN + "securityContext.privileged", True, "is privileged"),
        (POD, MAIN + "securityContext.allowPrivilegeEscalation", NOTHING, "may gain privileges"),
        (POD, MAIN + "securityContext.readOnlyRootFilesystem", NOTHING, "writes to its own image"),
        (POD, MAIN + "securityContext.capabilities.drop", ["NET_RAW"], "keeps capabilities"),
        (POD, MAIN + "securityContext.capabilities.add", ["SYS_ADMIN"], "adds capabilities SYS_ADMIN"),
        (POD, MAIN + "securityContext.procMount", "Unmasked", "unmasks /proc"),
        (POD, MAIN + "ports.0.hostPort", 80, "takes a port of the node"),
        (POD, MAIN + "resources.limits", NOTHING, "has no limits of cpu and memory"),
        (POD, MAIN + "resources.requests.cpu", NOTHING, "has no requests of cpu"),
        (JOB_SET, IN_JOB_SET + "spec.containers.0.securityContext.privileged", True, "role chief, container main: is"),
        (DEPLOYMENT, "spec.template.spec.hostIPC", True, "hostIPC"),
        (CRON, "spec.jobTemplate.spec.template.spec.hostIPC", True, "hostIPC"),
        (KNATIVE, "spec.template.spec.hostIPC", True, "hostIPC"),
        *((type_, at, {**RESTRICTED, "hostIPC": True}, f"{at}: hostIPC shares") for type_, at in DESCRIBED),
    ],
}
EACH = [
    pytest.param(rule, *case, id=f"{rule.name}-{n}") for rule, cases in CASES.items() for n, case in enumerate(cases)
]


@pytest.mark.parametrize("type_", GOOD)
@pytest.mark.parametrize("rule", pack.RULES, ids=lambda rule: rule.name)
def test_what_the_modules_make_passes(rule, type_, resource):
    assert list(rule.findings(resource(type_, protect=True))) == []


@pytest.mark.parametrize(("rule", "type_", "path", "value", "told"), EACH)
def test_what_breaks_a_rule_is_found_by_it_and_told_with_what_to_do(rule, type_, path, value, told, resource):
    found = list(rule.findings(resource(type_, path, value)))
    assert len(found) == 1, found
    assert told in found[0]
    assert ":" in found[0], "what was found, and what to do"


@pytest.mark.parametrize(
    ("rule", "type_", "path"),
    [case.values[:3] for case in EACH if isinstance(case.values[3], str | bool) and case.values[1] in GOOD],
)
def test_a_value_that_only_the_deployment_tells_is_no_finding_yet(rule, type_, path, resource):
    assert list(rule.findings(resource(type_, path, UNKNOWN))) == []


def test_every_rule_has_cases_that_it_refuses():
    assert {*CASES, protection.APPROVAL, protection.DATA} == set(pack.RULES)


@pytest.mark.parametrize(("page", "row"), [("policy", r"`([\w-]+)`"), ("runbook", r"`\[mandatory\] ([\w-]+)`")])
def test_every_rule_has_a_row_on_the_page_that_tells_of_it(page, row):
    text = (CHECKOUT / f"docs/{page}.md").read_text()
    names = {*(rule.name for rule in pack.RULES), price.NAME}
    assert names == set(re.findall(rf"^\| {row} \|", text, re.MULTILINE))


NAMED = {
    images.RULE: {*images.CLOUD_RUN, *images.NAMED},
    exposure.RULE: {*exposure.JUDGES},
    accounts.RULE: {*accounts.WHO, *images.WORKSPACES},
    labels.RULE: {*labels.WHERE},
    encryption.RULE: {*encryption.JUDGES, *encryption.TYPES},
}
"""The types in a rule's tables."""


@pytest.mark.parametrize("rule", NAMED, ids=lambda rule: rule.name)
def test_every_type_that_a_rule_names_has_a_case_that_it_refuses(rule):
    assert NAMED[rule] - {type_ for type_, *_ in CASES[rule]} == set()


def test_every_kind_that_describes_pods_has_a_case_that_is_refused():
    assert set(pods.TEMPLATES) - {type_.rpartition(":")[2] for type_, *_ in CASES[pods.RULE]} == set()


def test_every_type_that_a_rule_or_a_case_names_is_one_of_the_sdk_s():
    (packages,) = CHECKOUT.glob(".venv/lib/python3*/site-packages")
    known = "".join((packages / f"pulumi_{name}/__init__.py").read_text() for name in ("gcp", "kubernetes"))
    sources = [*(CHECKOUT / "policies/penstock_policies").glob("*.py"), *Path(__file__).parent.glob("*.py")]
    text = "".join(source.read_text() for source in sources)
    named = set(re.findall(r'"((?:gcp|kubernetes):[\w.-]+/\w+:\w+)"', text))
    assert len(named) > 30
    others = {"kubernetes:gateway.networking.k8s.io/v1:Gateway", JOB_SET, OPERATED, WORKSPACE, KNATIVE}
    assert {each for each in named if f'"{each}"' not in known} == others


def test_an_endpoint_on_the_internet_takes_the_setting_that_says_so(resource):
    (rule,) = (rule for rule in pack.RULES if rule.name == "no-public-exposure")
    open_ = resource(RUN, "ingress", "INGRESS_TRAFFIC_ALL", internet=True)
    assert list(rule.findings(open_)) == []


KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
KEYED = [(type_, place) for type_, places in encryption.OWN_KEY.items() for place, _ in places]


@pytest.mark.parametrize(("type_", "place"), KEYED)
def test_a_stack_with_a_key_of_its_own_encrypts_with_it_all_that_keeps_data(resource, type_, place):
    others = {each: KEY for kind, each in KEYED if kind == type_ and each != place}
    place = place.replace("*", "0")

    def judged(value):
        found = resource(type_, encryption_key=KEY)
        for where, key in (*others.items(), (place, value)):
            found = replace(found, properties=changed(found.properties, where, key))
        return list(encryption.RULE.findings(found))

    for wrong in (None, "projects/p/locations/l/keyRings/r/cryptoKeys/another"):
        (told,) = judged(wrong)
        assert KEY in told
    assert judged(KEY) == []
    assert judged(UNKNOWN) == []


def test_of_several_disks_or_copies_none_may_go_without_the_key(resource):
    disks = [{"diskEncryptionKey": {"kmsKeySelfLink": KEY}}, {"sourceImage": "debian"}]
    (told,) = encryption.RULE.findings(resource(TEMPLATE, "disks", disks, encryption_key=KEY))
    assert KEY in told
