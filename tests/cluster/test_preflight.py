"""What a preview can know, asked of a real API server."""

import pytest
import yaml

from penstock.kubernetes import Machine, ScaleOn
from penstock.kubernetes.api import MERGE, Api, ClusterError
from penstock.kubernetes.pods import OWNER
from penstock.kubernetes.preflight import JOB_SET, Needs, check, check_scaling, check_secrets, check_topology
from tests.cluster.conftest import eventually


def needs(**changed):
    return Needs(**{"stack": "test", "namespace": "penstock-test", "storage_class": "shared", **changed})


def refused(api, **changed):
    with pytest.raises(ClusterError) as told:
        check(api, needs(**changed))
    return str(told.value)


def test_a_cluster_that_has_everything_is_taken(api):
    check(api, needs(machines={"worker": Machine(accelerators=8)}))


def test_a_context_that_is_not_there_is_told_with_those_that_are(plane):
    with pytest.raises(ClusterError, match="no context 'prod'; it has penstock-test"):
        Api(str(plane.kubeconfig), "prod")


def test_credentials_that_the_api_server_does_not_take_are_told_with_their_context(plane, tmp_path):
    content = yaml.safe_load(plane.kubeconfig.read_text())
    content["users"][0]["user"] = {"token": "expired"}
    (tmp_path / "config").write_text(yaml.safe_dump(content))
    with pytest.raises(ClusterError) as told:
        check(Api(str(tmp_path / "config")), needs())
    assert str(told.value) == (
        f"the API server {plane.server} does not take the credentials of context 'penstock-test' (Unauthorized); "
        "sign in again, or choose another context"
    )


def test_a_kubeconfig_without_a_current_context_is_taken_where_one_is_named(plane, tmp_path):
    content = yaml.safe_load(plane.kubeconfig.read_text())
    del content["current-context"]
    (tmp_path / "config").write_text(yaml.safe_dump(content))
    assert Api(str(tmp_path / "config"), "penstock-test").get("/version")
    with pytest.raises(
        ClusterError, match="no current context; choose one with the setting `context`: it has penstock"
    ):
        Api(str(tmp_path / "config"))


@pytest.mark.parametrize("text", ["a: [", "- 1", "text", "contexts: 3"])
def test_a_file_that_is_no_kubeconfig_is_told(tmp_path, text):
    (tmp_path / "config").write_text(text)
    with pytest.raises(ClusterError, match="the kubeconfig cannot be"):
        Api(str(tmp_path / "config"))


def test_several_kubeconfigs_are_told_how_to_become_one(tmp_path):
    with pytest.raises(ClusterError, match="is several files; make them one with `kubectl config view --flatten`"):
        Api(f"{tmp_path}/one:{tmp_path}/other")


def test_a_kubeconfig_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ClusterError, match="there is no kubeconfig"):
        Api(str(tmp_path / "none"))


def test_an_api_server_that_does_not_answer_is_told_by_its_address(plane):
    text = plane.kubeconfig.read_text().replace(plane.server, "https://127.0.0.1:9")
    with pytest.raises(ClusterError, match=r"API server https://127\.0\.0\.1:9 does not answer"):
        check(Api(text), needs())


def test_kinds_that_are_missing_are_named_with_what_installs_them(api):
    told = refused(api, kinds=(JOB_SET, ("keda.sh/v1alpha1", "ScaledObject")))
    assert "does not know the kind ScaledObject (keda.sh/v1alpha1)" in told
    assert "kubectl apply --server-side -f https://github.com/kedacore/keda/" in told
    assert "JobSet" not in told


def test_a_verb_that_one_may_not_use_is_named(plane, api):
    plane.authority.sign("reader", "reader")
    reader = Api(str(plane.authority.kubeconfig("reader", plane.server)))
    rules = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch", "patch", "delete"]},
        {"apiGroups": [""], "resources": ["configmaps", "services"], "verbs": ["create"]},
    ]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "reader"}}
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    api.request("POST", path, body={**role, "rules": rules})
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "reader"}],
    }
    api.request("POST", f"/apis/{group}/v1/clusterrolebindings", body=binding)
    told = eventually(lambda: _when_known(reader), "the role holds")
    assert "you may not create jobsets.jobset.x-k8s.io in namespace penstock-test" in told
    assert "configmaps" not in told
    assert "you may not create horizontalpodautoscalers.autoscaling in namespace penstock-test" in told
    assert "secrets" not in told
    assert "statefulsets" not in told
    asked = refused(reader, secrets=True, database=True)
    assert "you may not create secrets in namespace penstock-test" in asked
    assert "you may not create statefulsets.apps in namespace penstock-test" in asked
    with pytest.raises(ClusterError, match=r"you may not create secrets in namespace penstock-test$"):
        check_secrets(reader, "penstock-test")
    check_secrets(api, "penstock-test")


def _when_known(reader):
    told = refused(reader)
    return told if "you may not create deployments.apps" in told and "not get" not in told else None


def test_a_namespace_that_is_being_deleted_is_told_with_what_holds_it(api, namespace):
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["test/hold"]}}
    api.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=held)
    api.request("DELETE", f"/api/v1/namespaces/{namespace}")
    path = f"/api/v1/namespaces/{namespace}"
    eventually(lambda: "test/hold" in str(api.get(path)["status"].get("conditions")), "it says what holds it")
    told = refused(api, namespace=namespace)
    assert f"namespace {namespace} is being deleted" in told
    assert "test/hold" in told
    free = {"metadata": {"finalizers": None}}
    api.request("PATCH", f"{path}/configmaps/held", body=free, content_type=MERGE)
    eventually(lambda: api.get(path) is None, "it is gone")
    api.request(
        "POST", "/api/v1/namespaces", body={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    )


def test_somebody_elses_namespace_is_left_alone(api, namespace):
    told = refused(api, namespace=namespace)
    assert f"namespace {namespace} is there already and belongs to somebody else" in told
    give = f"kubectl label namespace {namespace} {OWNER}=test"
    assert f"or give it to the stack: `{give}`" in told
    labelled = {"metadata": {"labels": {OWNER: "another"}}}
    api.request("PATCH", f"/api/v1/namespaces/{namespace}", body=labelled, content_type=MERGE)
    assert refused(api, namespace=namespace).endswith(
        "belongs to stack 'another'; choose another with the setting `namespace`"
    )


def test_a_namespace_that_was_given_to_the_stack_is_taken_with_the_claim_in_it(plane, api, namespace):
    told = refused(api, namespace="penstock-none", data_claim="raw")
    assert "namespace penstock-none has no claim 'raw'" in told
    assert "`kubectl create namespace penstock-none` and `kubectl label namespace penstock-none" in told
    plane.kubectl("label", "namespace", namespace, f"{OWNER}=test")
    assert "has no claim 'raw'" in refused(api, namespace=namespace, data_claim="raw")
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "raw"}}
    spec = {
        "accessModes": ["ReadOnlyMany"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "shared",
    }
    api.request("POST", f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", body={**claim, "spec": spec})
    check(api, needs(namespace=namespace, data_claim="raw"))


@pytest.mark.parametrize(
    ("path", "answer", "told"),
    [
        (
            "/version",
            {"major": "1", "minor": "30+", "gitVersion": "v1.30.4-eks"},
            "it runs Kubernetes v1.30.4-eks; 1.31",
        ),
        ("/openapi/v3/apis/jobset.x-k8s.io/v1alpha2", {"components": {}}, "its JobSet controller is older than 0."),
    ],
)
def test_what_is_there_and_too_old_is_told(plane, monkeypatch, path, answer, told):
    """All but one answer is the real one's."""
    old = Api(str(plane.kubeconfig))
    ask = old.request

    def request(method, asked, *args, **named):
        return answer if asked == path else ask(method, asked, *args, **named)

    monkeypatch.setattr(old, "request", request)
    assert told in refused(old)


def test_an_accelerator_that_no_node_has_is_told_with_what_there_is(api):
    told = refused(api, machines={"worker": Machine(accelerators=16)})
    assert "role worker asks for a node with 16 x nvidia.com/gpu, and it has none" in told
    assert "the most any of its" in told
    assert "of nvidia.com/gpu is 8" in told
    check(api, needs(machines={"worker": Machine(accelerators=16)}, autoscaled=True))


def test_a_storage_class_that_is_not_there_is_told_with_those_that_are(api):
    assert "no storage class 'fast'; it has: shared" in refused(api, storage_class="fast")
    assert "no default storage class" in refused(api, storage_class="")


def test_a_queue_and_a_claim_that_are_not_there_are_told(api):
    told = refused(api, queue="nobodys", data_claim="raw")
    assert "has no ClusterQueue 'nobodys'" in told
    assert "no claim 'raw'" in told


METRICS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "pods.metrics.k8s.io", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
    "spec": {
        "group": "metrics.k8s.io",
        "names": {"plural": "pods", "kind": "PodMetrics"},
        "scope": "Namespaced",
        "versions": [
            {"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}
"""What offers the API of a metrics server."""


def test_what_an_autoscaler_would_follow_must_be_there(api):
    with pytest.raises(ClusterError, match=r"no metrics server.*install it with `kubectl apply -f .*metrics-server"):
        check_scaling(api, ScaleOn.CPU)
    with pytest.raises(ClusterError, match=r"no metrics adapter.*`penstock_requests_per_second` of pods"):
        check_scaling(api, ScaleOn.REQUESTS)
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api.request("POST", path, body=METRICS)
    try:
        eventually(lambda: api.get("/apis/metrics.k8s.io/v1beta1"), "the API of a metrics server")
        check_scaling(api, ScaleOn.CPU)
    finally:
        api.request("DELETE", f"{path}/pods.metrics.k8s.io")


def test_a_role_that_no_slice_has_room_for_is_refused_as_a_whole(api):
    pool, machines = "cloud.google.com/gke-nodepool", {"worker": Machine(accelerators=8), "chief": Machine()}
    check_topology(api, pool, machines, {"worker": 2, "chief": 1})
    told = "role worker asks for 3 x 8 nvidia.com/gpu on nodes of one .*: the largest, gpu-0, has room for 2"
    with pytest.raises(ClusterError, match=told):
        check_topology(api, pool, machines, {"worker": 3, "chief": 1})
    with pytest.raises(ClusterError, match="no node has that label"):
        check_topology(api, "rack", machines, {"worker": 1})


def test_a_preview_refuses_what_the_cluster_cannot_take_and_makes_nothing(deployed, api):
    asked = {
        "no context 'prod'; it has penstock-test": {"cluster": {"context": "prod"}},
        "does not know the kind ScaledObject (keda.sh/v1alpha1); install it with `kubectl apply --server-side": {
            "cluster": {"scale_on": "keda", "prometheus": "http://prometheus"}
        },
        "does not know the kind HTTPRoute (gateway.networking.k8s.io/v1); install it with `kubectl apply": {
            "cluster": {"gateway": "infra/public"}
        },
        "does not know the kind Service (serving.knative.dev/v1); install it with `kubectl apply --server-side": {
            "cluster": {"scale_on": "knative"}
        },
        "role worker asks for a node with 16 x nvidia.com/gpu, and it has none": {
            "cluster": {"machines": {"worker": {"accelerators": 16}}}
        },
    }
    for words, settings in asked.items():
        deployed.configure(**settings)
        told = deployed.preview(expected=255)
        assert words in told
    assert api.get(f"/api/v1/namespaces/{deployed.namespace}") is None
    deployed.configure()
    assert "to create" in deployed.preview()
    assert api.get(f"/api/v1/namespaces/{deployed.namespace}") is None
