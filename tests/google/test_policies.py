"""The policy pack on the real engine: what it stops, and that a replacement takes a named approval."""

import json
import re

from penstock.gcp import pins

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


def test_a_prod_that_loses_data_or_costs_too_much_is_refused_by_the_names_of_the_rules(make_environment, policed):
    prod = make_environment("prod", protect=False, usd_per_hour_at_most=1, internet=True)
    told = prod.run("preview", "--stack", "prod", *policed, expected=1)
    for rule, finding in {
        "protected-data": "flow-store-bucket goes with all that is in it",
        "replacement-approval": "flow-serve-server-service is an endpoint that a deployment may replace",
        "price-ceiling": "costs up to 9.584 USD an hour at its peak, the ceiling is 1",
    }.items():
        assert f"[mandatory]  {rule}" in told, told
        assert finding in told
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


def test_the_stack_on_an_existing_cluster_breaks_no_rule(make_environment, kubeconfig, policed):
    images = {f"{name}_image": f"registry.example.com/{name}@sha256:{'a' * 64}" for name in ("trainer", "serving")}
    cluster = make_environment("cluster", kubeconfig=str(kubeconfig), storage_class="shared", **images)
    plan = cluster.steps(*policed)
    made = {each.partition(" ")[0] for each in plan}
    assert {"kubernetes:core/v1:Namespace", "kubernetes:networking.k8s.io/v1:NetworkPolicy"} <= made
