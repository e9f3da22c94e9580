"""What the Pulumi Kubernetes Operator is told, judged by what it declares (tests/operator_crds.json says whence)."""

import json

import pytest

from penstock.errors import PenstockError
from penstock.kubernetes import operator, preflight
from tests import operator_crds

# Kubernetes' own parts are judged by an API server (tests/cluster/test_operator.py).
CRDS = operator_crds.definitions({})
IMAGE = "registry.example.com/pulumi@sha256:" + "a" * 64
TYPES = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict}
PROGRAM = {
    "packages": {"net": "https://git.example/acme/net@1.0.0"},
    "resources": {"id": {"type": "random:RandomId", "properties": {"byteLength": 4}}},
    "outputs": {"id": "${id}"},
}


def args(**changed):
    common = {"name": "dev", "namespace": "gitops", "stack": "acme/penstock/dev", "backend": "gs://state"}
    return operator.Operated(**{**common, "repository": "https://git.example/acme/penstock", "image": IMAGE, **changed})


def problems(schema, value, where=""):
    """What a schema of a custom resource refuses."""
    if schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string"):
        return
    if not isinstance(value, TYPES[schema["type"]]) or (schema["type"] == "integer" and isinstance(value, bool)):
        yield f"{where}: {value!r} is no {schema['type']}"
    elif schema["type"] == "array":
        for index, item in enumerate(value):
            yield from problems(schema["items"], item, f"{where}[{index}]")
    elif schema["type"] == "object":
        yield from (f"{where}.{name} is required" for name in schema.get("required", ()) if name not in value)
        own = schema.get("properties")
        for name, item in value.items():
            if own is None and "additionalProperties" not in schema:
                continue
            inner = (own or {}).get(name) or schema.get("additionalProperties")
            if inner is None:
                yield f"{where}.{name} is not declared"
            else:
                yield from problems(inner, item, f"{where}.{name}")
    elif value not in schema.get("enum", (value,)):
        yield f"{where}: {value!r} is not one of {schema['enum']}"


def judged(manifest):
    for crd in CRDS:
        version = crd["spec"]["versions"][0]
        if (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]) == (
            manifest["apiVersion"],
            manifest["kind"],
        ):
            return list(problems(version["schema"]["openAPIV3Schema"], manifest))
    raise AssertionError(f"nobody declares {manifest['kind']}")


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"commit": "f" * 40, "again": True, "resync_seconds": 3600},
        {"repository": "", "program": "small"},
        {"secrets": {"PULUMI_CONFIG_PASSPHRASE": ("passphrase", "text")}, "environment": {"A": "b"}, "after": ["net"]},
        {"deploys_to": "penstock-dev"},
    ],
)
def test_a_stack_has_the_fields_that_the_operator_declares(changed):
    assert judged(operator.objects(args(**changed))["stack"]) == []


def test_workspace_and_program_have_the_fields_that_the_operator_declares():
    assert judged(operator.workspace(args())) == []
    assert judged(operator.workspace(args(secrets={"TOKEN": ("api", "token")}, environment={"A": "b"}))) == []
    assert judged(operator.program("small", "gitops", PROGRAM)) == []


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [("projectRep", "x", "is not declared"), ("refresh", "yes", "is no boolean"), ("stack", None, "is no string"),
     ("workspaceReclaimPolicy", "Keep", "is not one of")],
)  # fmt: skip
def test_the_judge_refuses_what_is_not_declared(path, value, told):
    stack = operator.objects(args())["stack"]
    stack["spec"][path] = value
    (found,) = judged(stack)
    assert told in found


def test_a_stack_that_is_deleted_by_mistake_takes_nothing_with_it():
    spec = operator.objects(args())["stack"]["spec"]
    assert spec["destroyOnFinalize"] is False
    assert spec["useLocalStackOnly"] is True


def test_a_program_may_have_every_section_that_the_operator_declares_and_no_other():
    (declared,) = (crd["spec"]["versions"][0] for crd in CRDS if crd["spec"]["names"]["kind"] == "Program")
    sections = declared["schema"]["openAPIV3Schema"]["properties"]["program"]["properties"]
    assert set(operator.SECTIONS) == set(sections)


@pytest.mark.parametrize("again", [False, True])
def test_a_stack_is_deployed_again_without_a_commit_only_where_it_is_to_retrain(again):
    spec = operator.objects(args(again=again))["stack"]["spec"]
    assert spec["continueResyncOnCommitMatch"] is again


def test_no_secret_is_in_the_stack_itself():
    spec = operator.objects(args(secrets={"TOKEN": ("api", "token")}))["stack"]["spec"]
    assert spec["envRefs"]["TOKEN"] == {"type": "Secret", "secret": {"name": "api", "key": "token"}}


def test_its_account_may_do_what_the_stack_does_in_its_one_namespace_and_nothing_by_wildcard():
    made = operator.objects(args(deploys_to="penstock-dev"))
    assert list(made)[-1] == "stack"
    rules = made["role"]["rules"] + made["namespace-role"]["rules"]
    assert "*" not in json.dumps(rules)
    assert not any("secrets" in rule["resources"] for rule in rules)
    assert made["role"]["metadata"]["namespace"] == made["binding"]["metadata"]["namespace"] == "penstock-dev"
    unnamed = [rule for rule in made["namespace-role"]["rules"] if "resourceNames" not in rule]
    assert all(rule["verbs"] in (["create", "list", "watch"], ["list"], ["get"]) for rule in unnamed)
    assert set(operator.objects(args())) == {"account", "delegator", "stack"}, "elsewhere it has no rights here"


def may(made, group, plural, verb, namespace, name):
    """Whether the rules let the account do it, as Kubernetes reads them."""
    rules = made["namespace-role"]["rules"]
    if namespace == made["role"]["metadata"]["namespace"]:
        rules = rules + made["role"]["rules"]
    return any(
        group in rule["apiGroups"]
        and plural in rule["resources"]
        and verb in rule["verbs"]
        and name in rule.get("resourceNames", [name])
        for rule in rules
    )


@pytest.mark.parametrize(("queue", "gateway"), [("", ""), ("research", ""), ("", "infra/public")])
@pytest.mark.parametrize("further", [(), (preflight.SCALED,), (preflight.QUEUE,), (preflight.SCALED, preflight.ROUTE)])
def test_its_account_may_do_all_that_a_preview_asks_for_whatever_the_stack_is_set_to(further, queue, gateway):
    made = operator.objects(args(deploys_to="penstock-dev"))
    needs = preflight.Needs("dev", "penstock-dev", (preflight.JOB_SET, *further), queue=queue, gateway=gateway)
    asked = preflight.asked(needs)
    assert len(asked) > 50
    assert [each for each in asked if not may(made, *each)] == []
    elsewhere = preflight.asked(preflight.Needs("dev", "penstock-prod", needs.kinds, queue=queue))
    others = [each for each in elsewhere if "penstock-prod" in each]
    assert [each for each in others if may(made, *each)] == [], "and nothing in another namespace"


def test_a_workspace_reaches_the_state_and_its_secrets_without_holding_them():
    spec = operator.workspace(args(secrets={"TOKEN": ("api", "token")}, account="deployer"))["spec"]
    assert spec["env"] == [
        {"name": "PULUMI_BACKEND_URL", "value": "gs://state"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}},
    ]
    assert spec["serviceAccountName"] == "deployer"
    with pytest.raises(PenstockError, match="a program of the cluster has none of its own"):
        operator.workspace(args(repository="", program="small"))


def test_a_program_with_a_section_that_is_none_is_refused():
    with pytest.raises(PenstockError, match="program small has resource; a program has configuration, packages"):
        operator.program("small", "gitops", {"resource": {}})


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"image": "pulumi/pulumi:latest"}, "name it by digest"),
        ({"program": "small"}, "one of them"),
        ({"repository": ""}, "one of them"),
        ({"resync_seconds": 5}, "at least 60"),
        ({"name": "a" * 43}, "the operator takes 42"),
    ],
)
def test_what_the_operator_would_refuse_is_refused_before(changed, told):
    with pytest.raises(PenstockError, match=told):
        args(**changed)
