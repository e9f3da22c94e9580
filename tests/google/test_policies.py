"""The policy pack on the real engine: what it stops, and that a replacement takes a named approval."""

import json
import re
import shlex
from pathlib import Path

import pytest
from standin import schema

from penstock.gcp import pins
from penstock_policies import accounts, encryption, exposure, images, labels, protection
from tests.google.conftest import CHECKOUT

STORE = """
    import os, json, pulumi
    from penstock import gcp

    gcp.ArtifactStore("store", {
        "bucket": "acme-store", "location": os.environ.get("PLACE", "us-central1"),
        "protect": bool(os.environ.get("PROTECT")), "approved": json.loads(os.environ.get("APPROVED", "[]")),
        "labels": {"environment": "dev", "owner": "me", "model": "flights", "run": "shared"}})
"""
BUCKET = "gcp:storage/bucket:Bucket store-bucket"
BAD = """
    import pulumi_gcp as gcp
    import pulumi_kubernetes as kubernetes

    image = "registry.example.com/trainer@sha256:" + "a" * 64
    bounds = {"cpu": "1", "memory": "1Gi"}

    def pod(name, *, image=image, account="trainer", env=(), **security):
        kubernetes.core.v1.Pod(name, spec={
            "automount_service_account_token": False,
            "service_account_name": account,
            "security_context": {
                "run_as_non_root": True, "run_as_user": 65532, "seccomp_profile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "main",
                "image": image,
                "env": list(env),
                "resources": {"requests": bounds, "limits": bounds},
                "security_context": {
                    "allow_privilege_escalation": False, "read_only_root_filesystem": True,
                    "capabilities": {"drop": ["ALL"]}, **security}}]})

    pod("good")
    pod("tagged", image="trainer:latest")
    pod("anybody", account="default")
    pod("told", env=[{"name": "PGPASSWORD", "value": "hunter2"}])
    pod("root", privileged=True)
    kubernetes.core.v1.Service("open", spec={"type": "NodePort"})
    kubernetes.rbac.v1.Role("mighty", rules=[{"api_groups": [""], "resources": ["pods"], "verbs": ["*"]}])
    gcp.storage.Bucket(
        "nobodys", location="us-central1", public_access_prevention="enforced", uniform_bucket_level_access=True)
"""
REFUSED = {
    "images-by-digest": ("kubernetes:core/v1:Pod: tagged", "runs the image 'trainer:latest'"),
    "no-public-exposure": ("kubernetes:core/v1:Service: open", "opens a port of every node"),
    "least-privilege": ("kubernetes:rbac.authorization.k8s.io/v1:Role: mighty", "a wildcard among its verbs"),
    "no-default-account": ("kubernetes:core/v1:Pod: anybody", "runs as the namespace's default account"),
    "labels": ("gcp:storage/bucket:Bucket: nobodys", "lacks the labels environment, run, owner, model"),
    "encryption": ("kubernetes:core/v1:Pod: told", "has the secret PGPASSWORD in plain text"),
    "restricted-pods": ("kubernetes:core/v1:Pod: root", "is privileged"),
}
"""The one resource of `BAD` that each rule is to refuse."""


def test_the_engine_refuses_the_one_resource_that_each_rule_is_there_for_and_no_other(stack, policed):
    told = stack(BAD).run("preview", "--stack", "dev", *policed, expected=1)
    found = re.findall(r"\[mandatory\]  (\S+)  \((.+?)\)", told)
    assert sorted(found) == sorted((rule, where) for rule, (where, _) in REFUSED.items()), told
    for _, finding in REFUSED.values():
        assert finding in told


def test_make_up_of_a_prod_that_loses_data_or_costs_too_much_ends_at_the_names_of_the_rules_and_makes_nothing(
    make_environment,
):
    prod = make_environment("prod", protect=False, usd_per_hour_at_most=1, internet=True)
    told = prod.make("up", expected=1)
    for rule, finding in {
        "protected-data": "flow-store-bucket goes with all that is in it",
        "replacement-approval": "flow-serve-server-service is an endpoint that a deployment may replace",
        "price-ceiling": r"costs up to \d+\.\d+ USD an hour at its peak, the ceiling is 1",
    }.items():
        assert f"[mandatory]  {rule}" in told, told
        assert re.search(finding, told), told
    assert "no-public-exposure  (" not in told, "the internet was asked for by name"
    assert prod.cloud.existing() == {}


def test_a_protected_bucket_is_replaced_with_a_named_approval_only(stack, policed):
    trial = stack(STORE)
    trial.run("config", "set", "penstock:gcp", json.dumps({"protect": True}), "--stack", "dev")
    unprotected = trial.run("preview", "--stack", "dev", *policed, expected=1)
    assert "[mandatory]  replacement-approval  (gcp:storage/bucket:Bucket: store-bucket)" in unprotected
    trial.up(*policed, PROTECT="1")

    there = {"PROTECT": "1", "PLACE": "europe-west4"}
    refused = trial.run("preview", "--stack", "dev", *policed, expected=1, **there)
    assert "unable to replace resource" in refused, refused
    assert "currently marked for protection" in refused
    assert "unable to replace resource" in trial.up(expected=1, **there), "the engine refuses without the pack too"

    approval = {"protect": True, "approve_replacement": ["store-bucket"]}
    trial.run("config", "set", "penstock:gcp", json.dumps(approval), "--stack", "dev")
    approved = trial.steps(*policed, **there, APPROVED='["store-bucket"]')
    assert approved[BUCKET] in pins.REPLACING


def test_the_commands_of_the_readme_plan_a_stack_on_an_existing_cluster_that_breaks_no_rule(
    make_environment, kubeconfig
):
    cluster = make_environment("cluster", storage_class="shared")
    blocks = re.findall(r"^```sh\n(.*?)^```", (CHECKOUT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    (block,) = (each for each in blocks if "cluster.trainer_image" in each)
    *commands, plan, up = (shlex.split(line, comments=True) for line in block.splitlines())
    for _, *words in commands:
        cluster.run(*(word.replace("sha256:...", f"sha256:{'a' * 64}") for word in words))
    assert (plan, up) == (["make", "plan", "STACK=cluster"], ["make", "up", "STACK=cluster"])
    told = cluster.make("plan", KUBECONFIG=str(kubeconfig))
    assert "penstock@" in told, "the pack was asked"
    for each in ("core/v1:Namespace", "networking.k8s.io/v1:NetworkPolicy", "apps/v1:Deployment"):
        assert f"kubernetes:{each}" in told


TABLES = {
    "account": {type_: set(paths) for type_, paths in accounts.WHO.items()},
    "labels": {type_: {path} for type_, path in labels.WHERE.items()},
    "key": {type_: {path for path, _ in paths} for type_, paths in encryption.OWN_KEY.items()},
    "image": {
        **{t: {f"{path}.*.image"} for t, path in images.CLOUD_RUN.items()},
        **{t: {p} for t, p in images.NAMED.items()},
    },
}
"""Where each rule looks, by type."""
FIELDS = {
    "account": re.compile(r"(^|\.)serviceAccount(Email|\.email|s\.\*\.email)?$"),
    "labels": re.compile(r"(^|\.)(labels|resourceLabels|userLabels)$"),
    "key": re.compile(r"[kK]msKey(Name|SelfLink)?$|(^|\.)encryptionKey(Name)?$|databaseEncryption\.keyName$"),
    "image": re.compile(r"[cC]ontainers\.\*\.image$|[cC]ontainerImage(\.repository)?$"),
}
"""How the SDK calls a field that says who runs, who pays, by which key data are encrypted, or what is run."""
POOLS = "pools are resources of their own: what stands in a cluster is what Google tells of them"
NOT_JUDGED = {
    r"Budget budgetFilter\.labels": "says what is counted",
    r"NotificationChannel labels": "is the channel's address",
    r"AlertPolicy .*conditionPrometheusQueryLanguage\.labels": "is told with the alarm",
    r"Cluster nodePools\.\*\..*": POOLS,
    r"Cluster nodeConfig\.(bootDiskKmsKey|labels|resourceLabels)": POOLS,
    r"Cluster .*autoProvisioningDefaults\.bootDiskKmsKey": "there is no provisioning by GKE; its account is asked",
    r"NodePool nodeConfig\.labels": "are the nodes', by which pods find them; bills have resourceLabels",
    r"(Service|Job|WorkerPool) template\.labels": "are the revision's; bills have the service's",
    r"(Service|Job|WorkerPool) template\..*encryptionKey": "is for the image's copy; no data lie in it",
    r"Function kmsKeyName": "is for the function's code; no data lie in it",
    r"Topic kmsKeyName": "is for messages on their way, which here say what was spent",
    r"(Topic|Subscription) .*[sS]erviceAccountEmail": "acts for Pub/Sub, whose own account is the default",
    r"BucketObject (kmsKeyName|customerEncryption\.encryptionKey)": "the bucket has a key",
    r"Secret replication\.auto\..*": "a key of a region takes copies by region, which are asked",
    r"(Instance|InstanceTemplate) serviceAccount": "is the block whose email is asked",
    r"ResourcePolicy snapshotSchedulePolicy\.snapshotProperties\.labels": "ours takes no snapshots",
    r"(Instance|InstanceTemplate) (bootDisk\.initializeParams|disks\.\*)\.labels": "the machine's are asked",
    r"(Disk|Instance|InstanceTemplate) .*source(Image|Snapshot)EncryptionKey\.kmsKeySelfLink": "opens what is copied",
    r"Instance (instanceEncryptionKey|attachedDisks\.\*)\.kmsKeySelfLink": "the disk that is attached is asked itself",
    r"Instance gceSetup\.containerImage(\.repository)?": "Google's own images are what a notebook here starts from",
}
"""By type and field: why no rule asks for it."""


def places(known, fields, at="", within=()):
    """Every field of a resource, `*` for each item of a list."""
    for name, spec in fields.items():
        place = f"{at}{name}"
        while spec["type"] == "array":
            spec, place = spec["items"], f"{place}.*"
        if spec["type"] == "object" and spec["of"] not in within:
            yield from places(known, known["types"][spec["of"]]["properties"], f"{place}.", (*within, spec["of"]))
        yield place


def types():
    """What the modules make, by their source, and what any rule names."""
    modules = Path(__file__).resolve().parents[2] / "modules/penstock/gcp"
    source = "".join(file.read_text() for file in modules.rglob("*.py"))
    made = {
        f"gcp:{at}/{name[0].lower()}{name[1:]}:{name}" for at, name in re.findall(r"gcp\.(\w+)\.([A-Z]\w+)\(", source)
    }
    made |= set(re.findall(r'_type = "(gcp:.+)"', source))
    assert len(made) > 30
    tables = (*TABLES.values(), exposure.JUDGES, protection.KEPT)
    return sorted(made | {type_ for table in tables for type_ in table if type_.startswith("gcp:")})


@pytest.mark.parametrize("type_", types())
def test_no_rule_forgets_a_type_that_the_sdk_gives_an_account_labels_a_key_or_an_image(type_, schemas):
    known = schema.of(type_, schemas)
    assert known is not None
    there = set(places(known, known["properties"]))
    for what, named in FIELDS.items():
        asked = TABLES[what].get(type_, set())
        assert asked <= there, "what a rule looks at is there"
        kind = type_.rpartition(":")[2]
        missing = [place for place in there - asked if named.search(place)]
        assert [p for p in missing if not any(re.fullmatch(why, f"{kind} {p}") for why in NOT_JUDGED)] == [], what
