"""A stack for the Pulumi Kubernetes Operator, made by another program on the real engine, judged by the policy pack."""

import re
from pathlib import Path

import yaml

STACK = """
    import pulumi
    from penstock.gitops import OperatedStack

    made = OperatedStack("dev", {
        "stack": "acme/penstock/dev", "repository": "https://git.example/acme/penstock", "backend": "gs://acme-state",
        "image": "registry.example.com/pulumi@sha256:" + "a" * 64, "deploys_to": "penstock-dev", "retrain": True,
        "secrets": {"PULUMI_CONFIG_PASSPHRASE": ("passphrase", "text")},
        "service_account_email": "deployer@acme.iam.gserviceaccount.com"})
    pulumi.export("name", made.name)
"""


CHECKOUT = Path(__file__).resolve().parents[2]
WORKFLOWS = CHECKOUT / ".github/workflows"
PAGE = (CHECKOUT / "docs/gitops.md").read_text()
(ACCESS, *OPERATED) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_programs_of_the_document_make_stacks_a_program_and_a_workspace(stack, policed):
    trial = stack("\n".join(OPERATED))
    plan = trial.steps(*policed)
    assert plan["kubernetes:pulumi.com/v1:Stack dev-stack"] == "create"
    assert plan["kubernetes:pulumi.com/v1:Stack token-stack"] == "create"
    assert plan["kubernetes:pulumi.com/v1:Program token-program"] == "create"
    assert plan["kubernetes:auto.pulumi.com/v1alpha1:Workspace look-workspace"] == "create"
    assert not any("Role " in each for each in plan), "it has no rights in this cluster"


def test_the_program_of_the_document_lets_the_workflows_in_and_breaks_no_rule(stack, policed):
    plan = stack(ACCESS).steps(*policed)
    assert plan["gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider acme-provider"] == "create"
    members = {each.partition(" ")[2] for each in plan if each.startswith("gcp:serviceaccount/iAMMember:IAMMember ")}
    for workflow, role in (("deploy", "deployer"), ("preview", "viewer"), ("drift", "viewer")):
        (job,) = yaml.safe_load((WORKFLOWS / f"{workflow}.yml").read_text())["jobs"].values()
        assert "prod" in job["strategy"]["matrix"]["stack"]
        environment = job["environment"].replace("${{ matrix.stack }}", "prod")
        assert f"acme-{role}-{environment}" in members, "the job's environment is one that its account lets in"


def test_an_operated_stack_and_its_rights_are_made_and_break_no_rule(stack, policed):
    trial = stack(STACK)
    assert "penstock@" in trial.up(*policed)
    assert trial.outputs() == {"name": "dev"}
    (kept,) = (each for each in trial.cloud.existing().values() if each["type"].endswith(":Stack"))
    assert kept["inputs"]["spec"]["continueResyncOnCommitMatch"] is True, "`retrain` asks for it"
    made = [each["type"].partition(":")[2] for each in trial.cloud.existing().values()]
    assert sorted(made) == [
        "core/v1:Namespace",
        "core/v1:ServiceAccount",
        "pulumi.com/v1:Stack",
        "rbac.authorization.k8s.io/v1:ClusterRole",
        "rbac.authorization.k8s.io/v1:ClusterRoleBinding",
        "rbac.authorization.k8s.io/v1:ClusterRoleBinding",
        "rbac.authorization.k8s.io/v1:Role",
        "rbac.authorization.k8s.io/v1:RoleBinding",
    ]
    assert [id_ for _, _, id_ in trial.cloud.calls("create")][-1].startswith("pulumi.com/v1:Stack:")
