"""What the Pulumi Kubernetes Operator is told, taken by a real API server that has the operator's fields as its own."""

import json
from pathlib import Path

import yaml

from penstock.kubernetes import operator, preflight
from penstock.kubernetes.api import Api
from tests.cluster.conftest import eventually, image

CRDS = json.loads((Path(__file__).resolve().parents[1] / "operator_crds.json").read_text())["items"]


def test_stack_program_workspace_and_rights_are_taken(plane, api, namespace):
    for crd in CRDS:
        api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body=crd)
    fresh = Api(str(plane.kubeconfig))
    eventually(lambda: fresh.kind(*operator.STACK) and fresh.kind(*operator.WORKSPACE), "the kinds of the operator")
    args = operator.Operated(
        "dev", namespace, "acme/penstock/dev", "gs://state", "https://git.example/penstock", image=image("pulumi"),
        deploys_to=f"{namespace}-made", secrets={"PULUMI_CONFIG_PASSPHRASE": ("passphrase", "text")},
    )  # fmt: skip
    content = {"packages": {"net": "https://git.example/net@1.0.0"}, "resources": {"id": {"type": "random:RandomId"}}}
    small = operator.program("small", namespace, content)
    of_it = operator.Operated("small", namespace, "small", "gs://state", program="small", image=image("pulumi"))
    objects = [*operator.objects(args).values(), operator.workspace(args), small, *operator.objects(of_it).values()]
    for manifest in objects:
        kind = fresh.kind(manifest["apiVersion"], manifest["kind"])
        assert kind is not None, manifest["kind"]
        place = kind.collection(manifest["metadata"].get("namespace"))
        made = fresh.request("POST", place, {"fieldValidation": "Strict"}, manifest)
        assert made["metadata"]["name"] == manifest["metadata"]["name"]
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
