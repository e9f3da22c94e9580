"""Every manifest that the modules render, judged by a real API server that takes no unknown field."""

import pytest

from penstock import Job, Program, Role, Service
from penstock.kubernetes import Machine
from penstock.kubernetes import workspace as workspaces
from penstock.kubernetes.api import ApiError
from penstock.kubernetes.job_set import JobSetArgs, disruption_budget, edges, job_set
from penstock.kubernetes.serving import ServingArgs, objects
from tests.cluster.conftest import image

ROLES = {"chief": Role(["train"]), "ps": Role(["train"], replicas=2, restarts=3), "worker": Role(["train"], replicas=3)}


def judged(api, namespace, manifest):
    kind = api.kind(manifest["apiVersion"], manifest["kind"])
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    return api.request("POST", kind.collection(namespace), query, manifest)


def job_manifests():
    machines = {"worker": Machine(accelerators=1, node_selector={"a": "b"})}
    args = JobSetArgs(
        "stack", {Program.TRAINER: image("trainer")}, "artifacts", machines, "raw", "problem", "queue", "zone"
    )
    commands = {role: [str(part) for part in details.command] for role, details in ROLES.items()}
    made = job_set("model", Job(Program.TRAINER, ROLES), commands, {"dataset": "sha256:1"}, args)
    return [made, disruption_budget("model", 6, args), edges("model", args)]


def serving_manifests(low, high):
    service = Service(Program.SERVER, [], port=8501, min_replicas=low, max_replicas=high)
    return list(
        objects("serve", service, ["--name", "flights"], ServingArgs("stack", image("serving"), "artifacts")).values()
    )


@pytest.mark.parametrize(
    "manifests",
    [
        job_manifests(),
        serving_manifests(1, 1),
        serving_manifests(2, 9),
        [*workspaces.objects(workspaces.WorkspaceArgs("stack", "any")).values()],
        [workspaces.claim(workspaces.WorkspaceArgs("stack", "any", storage_class="shared", storage_gib=2))],
    ],
    ids=["job", "one server", "a range of servers", "workspace", "claim"],
)
def test_what_is_rendered_is_taken(api, namespace, manifests):
    for manifest in manifests:
        assert judged(api, namespace, manifest)["metadata"]["name"] == manifest["metadata"]["name"]


def test_the_judge_refuses_a_field_it_does_not_know(api, namespace):
    manifest = serving_manifests(1, 1)[0]
    manifest["spec"]["template"]["spec"]["containers"][0]["securityContxt"] = {}
    with pytest.raises(ApiError, match=r'unknown field "spec.template.spec.containers\[0\].securityContxt"'):
        judged(api, namespace, manifest)
