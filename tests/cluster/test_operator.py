"""What the Pulumi Kubernetes Operator is told, taken by a real API server that has the operator's fields as its own."""

import copy

import pytest
import yaml

from penstock.kubernetes import operator, preflight
from penstock.kubernetes.api import Api, ApiError
from tests import operator_crds
from tests.cluster.conftest import DEFINITIONS, eventually, image
from tests.cluster.kubernetes_plugin.objects import APPLY

STRICTLY = {"fieldManager": "pulumi", "force": "true", "fieldValidation": "Strict"}
"""As the provider plugin applies, but for that a field that is not declared is refused and not dropped."""


@pytest.fixture(scope="module")
def operated(plane, api):
    """The API server when it knows the operator's kinds, with Kubernetes' own parts by its own definitions."""
    kubernetes = api.request("GET", "/openapi/v2")["definitions"]
    for crd in operator_crds.definitions(kubernetes):
        api.request("POST", DEFINITIONS, body=crd)
    fresh = Api(str(plane.kubeconfig))
    kinds = (operator.STACK, operator.PROGRAM, operator.WORKSPACE)
    eventually(lambda: all(fresh.kind(*kind) for kind in kinds), "the kinds of the operator")
    return fresh


def applied(api, manifest):
    """What the API server makes of a manifest that is applied by server-side apply."""
    kind = api.kind(manifest["apiVersion"], manifest["kind"])
    assert kind is not None, manifest["kind"]
    metadata = manifest["metadata"]
    path = f"{kind.collection(metadata.get('namespace'))}/{metadata['name']}"
    return api.request("PATCH", path, STRICTLY, manifest, APPLY)


def test_stack_program_workspace_and_rights_are_taken(plane, operated, namespace):
    fresh = operated
    args = operator.Operated(
        "dev", namespace, "acme/penstock/dev", "gs://state", "https://git.example/penstock", image=image("pulumi"),
        deploys_to=f"{namespace}-made", secrets={"PULUMI_CONFIG_PASSPHRASE": ("passphrase", "text")},
    )  # fmt: skip
    content = {"packages": {"net": "https://git.example/net@1.0.0"}, "resources": {"id": {"type": "random:RandomId"}}}
    small = operator.program("small", namespace, content)
    of_it = operator.Operated("small", namespace, "small", "gs://state", program="small", image=image("pulumi"))
    objects = [*operator.objects(args).values(), operator.workspace(args), small, *operator.objects(of_it).values()]
    for manifest in objects:
        first, again = applied(fresh, manifest), applied(fresh, manifest)
        assert first["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"], "nothing is written twice"
    account, made = _as_account(plane, fresh, namespace), _needs(f"{namespace}-made")
    eventually(lambda: not preflight.missing(account, made), "the roles hold, and are all that a preview asks for")
    refused = preflight.missing(account, _needs("elsewhere"))
    assert any("jobsets.jobset.x-k8s.io in namespace elsewhere" in line for line in refused), refused
    for each in (args, of_it):
        stack = fresh.get(f"/apis/pulumi.com/v1/namespaces/{namespace}/stacks/{each.name}")
        assert stack is not None
        assert stack["spec"] == operator.objects(each)["stack"]["spec"], "no field was dropped"
    kept = fresh.get(f"/apis/pulumi.com/v1/namespaces/{namespace}/programs/small")
    assert kept is not None
    assert kept["program"] == content


@pytest.mark.parametrize(
    ("kind", "place", "value", "told"),
    [
        ("Stack", ("spec", "projectRepos"), "x", "field not declared in schema"),
        ("Stack", ("spec", "refresh"), "yes", "expected boolean"),
        ("Stack", ("spec", "workspaceReclaimPolicy"), "Keep", "supported values"),
        ("Stack", ("spec", "prerequisites"), [{}], "Required value"),
        ("Stack", ("spec", "workspaceTemplate", "spec", "podTemplate"), {"spec": {"container": []}}, "not declared"),
        ("Workspace", ("spec", "resources", "limit"), {"cpu": 1}, "field not declared in schema"),
        ("Workspace", ("spec", "env"), [{"name": "A", "valueOf": {}}], "field not declared in schema"),
        ("Program", ("program", "resources", "id"), {"properties": {}}, "Required value"),
    ],
)
def test_a_field_that_the_operator_does_not_declare_is_refused(operated, namespace, kind, place, value, told):
    common = {"name": "odd", "namespace": namespace, "stack": "dev", "image": image("pulumi")}
    args = operator.Operated(**common, repository="https://git.example/penstock")
    program = operator.program("odd", namespace, {"resources": {"id": {"type": "random:RandomId"}}})
    made = {"Stack": operator.objects(args)["stack"], "Workspace": operator.workspace(args), "Program": program}
    wrong = copy.deepcopy(made[kind])
    *above, last = place
    part = wrong
    for key in above:
        part = part[key]
    part[last] = value
    applied(operated, made[kind])
    with pytest.raises(ApiError, match=told) as caught:
        applied(operated, wrong)
    assert caught.value.status in (400, 422, 500), caught.value.status


def _needs(namespace: str) -> preflight.Needs:
    """Of a stack with all that there is."""
    kinds = (preflight.JOB_SET, preflight.QUEUE, preflight.SCALED, preflight.ROUTE)
    return preflight.Needs("dev", namespace, kinds, queue="research", gateway="infra/public")


def _as_account(plane, api: Api, namespace: str) -> Api:
    """Requests of the account that the workspace's pod has."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/dev/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = api.request("POST", path, body=request)["status"]["token"]
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    return Api(yaml.safe_dump(config))
