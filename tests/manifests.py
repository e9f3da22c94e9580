"""Every manifest that the modules render, for those who judge them; as a stack with everything has them."""

import json
from typing import Any

from penstock import Job, Program, Role, Service
from penstock.gcp import dashboard, gateway, ladder
from penstock.gcp import workspace as google
from penstock.kubernetes import Machine, ScaleOn, database, gateways, knative, watching
from penstock.kubernetes import workspace as workspaces
from penstock.kubernetes.job_set import JobSetArgs, disruption_budget, edges, job_set
from penstock.kubernetes.serving import ServingArgs, objects, selector

Manifest = dict[str, Any]
NAMESPACE = "penstock"
ROLES = {
    "chief": Role(["train"]),
    "ps": Role(["train"], replicas=2, restarts=3),
    "worker": Role(["train"], replicas=3, restarts=3),
    "evaluator": Role(["train"]),
}
IMAGES = {program: f"registry.example.com/{program.value}@sha256:{'a' * 64}" for program in Program}
COMMAND = ["--model", "/artifacts/models/m", "--name", "flights"]


def job() -> list[Manifest]:
    """A training with all roles, accelerators, a queue, a place of its own, and a database with a password."""
    machines = {"worker": Machine(accelerators=1, node_selector={"a": "b"})}
    place = {"data_claim": "raw", "problem": "problem", "queue": "queue", "exclusive_topology": "zone"}
    told = database.environment("train-database")
    args = JobSetArgs("dev", IMAGES, "artifacts", machines, environment=told, **place)
    commands = {role: ["train"] for role in ROLES}
    made = job_set("train", Job(Program.TRAINER, ROLES), commands, {"dataset": "sha256:1"}, args)
    at = database.edge("train", "dev", "postgresql://me@10.1.2.3/studies")
    secret = {**database.secret("train", "dev"), "stringData": {"password": "made up"}}
    return [made, disruption_budget("train", 7, args), edges("train", args), at, secret]


def study_database() -> list[Manifest]:
    """The database that the stack makes for a study, and its Secret."""
    made = database.objects("tune", database.DatabaseArgs("dev", IMAGES[Program.TRAINER], "shared"))
    secret = {**database.secret("tune", "dev"), "stringData": {"password": "made up"}}
    return [*made.values(), secret]


def serving(low: int, high: int, **more: Any) -> list[Manifest]:
    """An endpoint with so many replicas."""
    service = Service(Program.SERVER, [], port=8501, min_replicas=low, max_replicas=high)
    args = ServingArgs("dev", IMAGES[Program.SERVER], "artifacts", NAMESPACE, **more)
    return list(objects("serve", service, COMMAND, args).values())


def scaled() -> list[Manifest]:
    """An endpoint of several versions that is watched, and scaled by KEDA down to zero."""
    asked = {"scale_on": ScaleOn.IN_FLIGHT, "prometheus": "http://prometheus:9090"}
    return serving(0, 9, plan="serve-plan-1", observations=watching.folder("serve"), **asked)


def by_knative() -> list[Manifest]:
    """The same by Knative, with a key and a place for machines with accelerators."""
    service = Service(Program.SERVER, [], port=8501, min_replicas=0, max_replicas=9, verify_key="verifying.pem")
    args = ServingArgs(
        "dev",
        IMAGES[Program.SERVER],
        "artifacts",
        NAMESPACE,
        Machine(accelerators=1, node_selector={"a": "b"}),
        scale_on=ScaleOn.KNATIVE,
        plan="serve-plan-1",
        keys="serve-keys",
        observations=watching.folder("serve"),
    )
    return list(knative.objects("serve", service, COMMAND, args).values())


def routed() -> Manifest:
    """What leads from a Gateway to two versions."""
    weights = {"serve": 10, "serve-previous": 90}
    return gateways.route("serve", "dev", "infra/public", "model.example", 8501, weights)


def monitor() -> list[Manifest]:
    """What judges what that endpoint observed."""
    args = watching.WatchArgs("dev", IMAGES[Program.SERVER], "artifacts", "*/10 * * * *", "flights", secret=True)
    rules = ["--window-seconds", "60", "--minimum-rows", "50"]
    made = watching.monitor("serve", "/artifacts/models/m", rules, args)
    secret = {**watching.secret("serve", "dev"), "stringData": {"PENSTOCK_ALERT_WEBHOOK": "https://hooks.example"}}
    return [made, secret, watching.edge("serve", "dev", 443)]


def workspace(queue: str = "queue") -> list[Manifest]:
    """What a namespace has from the start."""
    args = workspaces.WorkspaceArgs("dev", NAMESPACE, storage_class="shared", storage_gib=2, queue=queue)
    return [*workspaces.objects(args).values(), workspaces.claim(args)]


def on_google() -> list[Manifest]:
    """What a stack on GKE has: the bucket as a volume, the ways in and out, figures that Google collects, and jobs and
    servers that mount the bucket.
    """
    args = ServingArgs("dev", IMAGES[Program.SERVER], "artifacts")
    labels, selected = {"environment": "dev", "owner": "you"}, selector("serve", args)
    way = gateway.objects("serve", 8501, "/readyz", "address", "model.example", "certificate", selected)
    (served, *beside) = serving(1, 3)
    served = {**served, "spec": google.served(served["spec"], labels)}
    (made, *with_it) = job()
    ways = [*way.values(), dashboard.collected("serve", selected), google.allow_google()]
    parts = [google.volume("bucket"), google.claim(), ladder.compute_class("ladder", ["pool"])]
    rights = [*google.guarded("guard@example.com", "1").values(), google.allow_database("10.60.0.3/32")]
    space = workspaces.objects(workspaces.WorkspaceArgs("dev", NAMESPACE)).values()
    return [*parts, *space, *rights, *ways, served, *beside, google.with_bucket(made, "run", labels), *with_it]


def everything() -> list[Manifest]:
    """All of them, in the namespace."""
    namespace = workspaces.namespace(workspaces.WorkspaceArgs("dev", NAMESPACE))
    endpoints = [*serving(2, 9), *scaled(), *by_knative(), routed(), *monitor()]
    found = [*job(), *study_database(), *endpoints, *workspace(), *on_google()]
    placed = [{**each, "metadata": {**each["metadata"], "namespace": NAMESPACE}} for each in found]
    # Copies: what is rendered may share its parts.
    return json.loads(json.dumps([namespace, *placed]))
