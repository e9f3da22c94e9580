"""The stand-in is a judge: what it must refuse, it refuses, and says why."""

import pytest
from standin import inputs, schema

BUCKET = {"name": "acme-dev", "location": "US-CENTRAL1", "storageClass": "STANDARD", "labels": {"owner": "me"}}
POOL = {
    "cluster": "dev",
    "nodeConfig": {"machineType": "e2-standard-4", "shieldedInstanceConfig": {"enableSecureBoot": True}},
}
CLUSTER = {"name": "dev", "datapathProvider": "ADVANCED_DATAPATH", "releaseChannel": {"channel": "REGULAR"}}


def told(token, base, change, schemas):
    assert inputs.problems(token, base, schemas) == []
    return "; ".join(f"{where}: {why}" for where, why in inputs.problems(token, {**base, **change}, schemas))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"locaton": "EU"}, "locaton: is no field of gcp:storage/bucket:Bucket"),
        ({"location": None}, "location: is required"),
        ({"storageClass": "STANDRAD"}, "'STANDRAD' is not one of STANDARD"),
        ({"forceDestroy": "yes"}, "forceDestroy: 'yes' is no boolean"),
        ({"labels": {"owner": "Me@x"}}, "label owner is 'Me@x'"),
        ({"versioning": {}}, "versioning.enabled: is required"),
        ({"publicAccessPrevention": 1}, "publicAccessPrevention: 1 is no string"),
    ],
)
def test_a_wrong_bucket_is_refused_by_the_name_of_its_field(change, expected, schemas):
    assert expected in told("gcp:storage/bucket:Bucket", BUCKET, change, schemas)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"nodeConfig": {"machine_type": "x"}}, "nodeConfig.machine_type: is no field"),
        ({"nodeConfig": {"diskSizeGb": "big"}}, "nodeConfig.diskSizeGb: 'big' is no integer"),
        ({"nodeLocations": "us-central1-a"}, "nodeLocations: 'us-central1-a' is no list"),
        ({"placementPolicy": {"type": "COMPACTED"}}, "is not one of TYPE_UNSPECIFIED, COMPACT"),
    ],
)
def test_a_wrong_node_pool_is_refused_by_the_name_of_its_field(change, expected, schemas):
    assert expected in told("gcp:container/nodePool:NodePool", POOL, change, schemas)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"datapathProvider": "ADVANCED"},
            "networkConfig.datapathProvider: 'ADVANCED' is not one of DATAPATH_PROVIDER",
        ),
        ({"releaseChannel": {"channel": "STABEL"}}, "'STABEL' is not one of"),
    ],
)
def test_a_value_that_google_s_interface_does_not_have_is_refused(change, expected, schemas):
    assert expected in told("gcp:container/cluster:Cluster", CLUSTER, change, schemas)


def test_a_resource_that_the_sdk_does_not_have_is_refused(schemas):
    assert "has no resource gcp:storage/pail:Pail" in inputs.problems("gcp:storage/pail:Pail", {}, schemas)[0][1]


def test_a_value_that_only_the_deployment_knows_passes(schemas):
    assert inputs.problems("gcp:storage/bucket:Bucket", {**BUCKET, "location": inputs.UNKNOWN}, schemas) == []


def pod(**fields):
    container = {"name": "trainer", "image": "x", **fields}
    return {"spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"imagePullPolicies": "Always"}, "containers[0].imagePullPolicies: is no field"),
        ({"args": "--help"}, "containers[0].args: '--help' is no list"),
        ({"ports": [{"name": "http"}]}, "ports[0].containerPort: is required"),
    ],
)
def test_the_pods_inside_a_job_set_are_judged_like_any_other(fields, expected, schemas):
    job_set = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": "train"},
        "spec": {"replicatedJobs": [{"name": "chief", "template": pod()}]},
    }
    token = "kubernetes:jobset.x-k8s.io/v1alpha2:JobSet"
    assert inputs.problems(token, job_set, schemas) == []
    job_set["spec"]["replicatedJobs"][0]["template"] = pod(**fields)
    (where, why), *_ = inputs.problems(token, job_set, schemas)
    assert expected in f"{where}: {why}"


@pytest.mark.parametrize(
    ("version", "kind", "spec", "expected"),
    [
        ("cloud.google.com/v1", "ComputeClass", {"priorities": [{"nodePools": ["a"]}]}, "nodePools: is no field of"),
        ("cloud.google.com/v1", "ComputeClass", {"whenUnsatisfiable": "Wait"}, "'Wait' is not one of ScaleUpAnyway"),
        ("networking.gke.io/v1", "HealthCheckPolicy", {"targetRef": {"name": "a"}}, "spec.targetRef.kind: is required"),
        ("monitoring.googleapis.com/v1", "PodMonitoring", {"endpoints": [{}]}, "spec.endpoints[0].port: is required"),
        ("monitoring.googleapis.com/v1", "PodMonitoring", {"selector": []}, "[] is no object"),
    ],
)
def test_a_kind_of_google_s_own_is_judged_by_what_google_declares(version, kind, spec, expected, schemas):
    manifest = {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    found = [f"{where}: {why}" for where, why in inputs.problems(f"kubernetes:{version}:{kind}", manifest, schemas)]
    assert expected in "; ".join(found)


def test_a_name_that_kubernetes_would_refuse_is_refused(schemas):
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "My_Name", "labels": {"a": "b c"}}}
    found = dict(inputs.problems("kubernetes:core/v1:Namespace", namespace, schemas))
    assert set(found) == {"metadata.name", "metadata.labels.a"}


def test_required_fields_and_allowed_values_come_from_the_installed_sdk(schemas):
    pool = schema.of("gcp:container/nodePool:NodePool", schemas)
    assert pool is not None
    assert pool["required"] == ["cluster"]
    accelerator = next(t for name, t in pool["types"].items() if name.endswith("NodeConfigGuestAcceleratorArgs"))
    assert accelerator["required"] == ["count", "type"]
    service = schema.of("gcp:cloudrunv2/service:Service", schemas)
    assert service is not None
    assert "INGRESS_TRAFFIC_INTERNAL_ONLY" in service["properties"]["ingress"]["enum"]
