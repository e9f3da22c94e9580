"""An endpoint as a Knative Service, as manifests; tests/pods/costly has the real Knative judge and run them."""

import pytest

from penstock import Program, Service
from penstock.kubernetes import Machine, ScaleOn, knative, serving

CLAIM, WRITE = "kubernetes.podspec-persistent-volume-claim", "kubernetes.podspec-persistent-volume-write"
EMPTY = "kubernetes.podspec-volumes-emptydir"


def rendered(low=0, high=5, idle=300, **args):
    service = Service(Program.SERVER, [], port=8501, min_replicas=low, max_replicas=high, idle_seconds=idle)
    made = serving.ServingArgs("prod", "i@sha256:2", "artifacts", scale_on=ScaleOn.KNATIVE, **args)
    return knative.objects("serve", service, ["--model", "/artifacts/m"], made)


def revision(**args):
    return rendered(**args)["knative"]["spec"]["template"]


def test_the_range_and_what_a_replica_is_to_have_in_flight_are_knatives_annotations():
    said = revision(low=0, high=5, idle=7200, requests_in_flight=8)["metadata"]["annotations"]
    own = {key.partition("/")[2]: value for key, value in said.items() if key.startswith("autoscaling.knative.dev/")}
    assert own == {
        "class": "kpa.autoscaling.knative.dev",
        "metric": "concurrency",
        "target": "8",
        "target-utilization-percentage": "100",
        "min-scale": "0",
        "max-scale": "5",
        "scale-down-delay": "3600s",  # the longest that Knative takes
    }
    assert said["prometheus.io/port"] == "8501"


def test_it_is_reached_within_the_cluster_only_and_its_name_is_no_other_services():
    made = rendered()["knative"]["metadata"]
    assert made["labels"]["networking.knative.dev/visibility"] == "cluster-local"
    assert made["name"] == "serve-knative"
    assert made["labels"]["penstock.dev/workload"] == "serve"


def test_a_pod_is_restricted_without_a_word_about_it_as_a_whole():
    # Knative takes a pod's `securityContext` where a feature is on; a container's it always takes.
    template = revision(observations="observations/serve")
    assert "securityContext" not in template["spec"]
    for container in [*template["spec"]["containers"], *template["spec"]["initContainers"]]:
        context = container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["runAsGroup"] == 65532
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
    assert template["spec"]["automountServiceAccountToken"] is False


def test_nothing_is_asked_of_a_pod_that_knative_does_itself():
    (server,) = revision()["spec"]["containers"]
    assert "lifecycle" not in server
    assert server["ports"] == [{"name": "http1", "containerPort": 8501}]
    assert not {"terminationGracePeriodSeconds", "topologySpreadConstraints"} & set(revision()["spec"])


def test_what_stands_before_the_server_has_requests_and_limits_which_the_quota_asks_for():
    said = revision()["metadata"]["annotations"]
    own = {key for key in said if key.startswith("queue.sidecar.serving.knative.dev/")}
    resources = ("cpu", "memory", "ephemeral-storage")
    wanted = {f"{resource}-resource-{which}" for resource in resources for which in ("request", "limit")}
    assert {key.partition("/")[2] for key in own} == wanted


def test_a_key_is_read_by_a_user_who_is_in_no_group():
    (kept,) = [each["secret"] for each in revision(keys="serve-keys")["spec"]["volumes"] if each["name"] == "keys"]
    assert kept == {"secretName": "serve-keys", "defaultMode": 0o444}


def test_the_server_is_reached_by_knative_and_the_callers_and_counted_by_knative_alone():
    policy = rendered(caller_namespaces=["ingress"])["policy"]["spec"]
    callers, own = policy["ingress"]
    assert policy["podSelector"]["matchLabels"].items() <= revision()["metadata"]["labels"].items()
    assert callers["from"][0]["namespaceSelector"]["matchExpressions"][0]["values"] == ["ingress"]
    assert [port["port"] for port in callers["ports"]] == [8012, 8501]
    assert own["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "knative-serving"}}}]
    assert [port["port"] for port in own["ports"]] == [8012, 9090]


def test_a_budget_is_made_where_there_are_always_several():
    assert "budget" in rendered(low=2)
    assert "budget" not in rendered(low=0)


@pytest.mark.parametrize(
    ("args", "more"),
    [
        ({}, []),
        ({"plan": "serve-plan-1", "keys": "serve-keys"}, []),
        ({"observations": "observations/serve"}, [WRITE, "kubernetes.podspec-init-containers"]),
        (
            {"machine": Machine(accelerators=1, node_selector={"pool": "gpu"})},
            ["kubernetes.podspec-nodeselector", "kubernetes.podspec-tolerations"],
        ),
    ],
)
def test_features_are_asked_for_where_a_pod_needs_them_only(args, more):
    assert knative.features(revision(**args)["spec"]) == [EMPTY, CLAIM, *more]
