"""Every module, each made from plain values as another program would, on the real engine with the strict stand-in."""

import inspect
import json
import re

import pytest
from decided import undecided
from standin import schema

from penstock.gcp import compute, guarded, guarding, prices
from penstock.gcp.deploying import GRANTED
from penstock.gcp.environment import Environment

PROGRAM = """
    import pulumi
    import pulumi_kubernetes
    from penstock import gcp

    LABELS = {"environment": "dev", "owner": "me", "model": "flights", "run": "shared"}
    NET = {"network": "projects/acme-dev/global/networks/n", "subnetwork": "projects/acme-dev/regions/r/subnetworks/n"}
    ACCOUNT = "someone@acme-dev.iam.gserviceaccount.com"
    IMAGE = "us-docker.pkg.dev/acme-dev/penstock/serving@sha256:" + "a" * 64
    VERIFYING = "verifying.pem"
    POOL = {"cluster": "dev", "location": "us-central1-a", "zones": ["us-central1-a"], "node_service_account": ACCOUNT,
            "labels": LABELS, "compute_class": "training"}

    gcp.Network("net", {"region": "us-central1"})
    gcp.Identities("ids", {"project": "acme-dev", "workloads": {"trainer": ("penstock", "trainer")},
                           "database_users": ("trainer",)})
    gcp.Cluster("gke", {"project": "acme-dev", "location": "us-central1-a", **NET, "node_service_account": ACCOUNT,
                        "labels": LABELS})
    gcp.MachinePool("spot", POOL, "e2-standard-4", 8, True)
    for name, fields in {
        "l4": {"type": "nvidia-l4", "sharing": 4},
        "a100": {"type": "nvidia-tesla-a100", "mig": "1g.5gb", "provisioning": "flex-start"},
        "v5e": {"type": "tpu-v5e", "topology": "4x4", "provisioning": "queued"},
        "v5p": {"type": "tpu-v5p", "topology": "2x2x2", "provisioning": "reservation", "reservation": "r1"},
        "v6e": {"type": "tpu-v6e", "topology": "2x4", "provisioning": "on-demand"},
        "ironwood": {"type": "tpu-ironwood", "topology": "2x2x1"},
        "ironwoods": {"type": "tpu-ironwood", "topology": "2x2x2"},
    }.items():
        gcp.AcceleratorPool(name, POOL, gcp.Accelerator(**fields))
    gcp.ArtifactStore("store", {"bucket": "acme-dev-store", "location": "us-central1", "labels": LABELS,
                                "writers": {"trainer": ACCOUNT}, "readers": {"server": ACCOUNT},
                                "encryption_key": "projects/p/locations/l/keyRings/r/cryptoKeys/k"})
    KEY = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    gcp.KeyAccess("key", {"project": "acme-dev", "key": KEY,
                          "uses": ["buckets", "cluster", "disks", "dataflow", "database", "images", "secrets"]})
    gcp.ImageRegistry("images", {"location": "us-central1", "repository": "penstock", "labels": LABELS,
                                 "readers": {"nodes": ACCOUNT}})
    gcp.StudyDatabase("studies", {"region": "us-central1", "network": NET["network"], "user": ACCOUNT,
                                  "labels": LABELS})
    beam = gcp.DataflowPreprocessing("beam", {"project": "acme-dev", "region": "us-central1", **NET, "bucket": "b",
                                              "worker_service_account": ACCOUNT, "image": IMAGE, "labels": LABELS})
    served = gcp.CloudRunEndpoint("serve", {
        "location": "us-central1", "image": IMAGE, "command": ["--model", "/artifacts/models/x"], "bucket": "b",
        "mount": "/artifacts", "service_account_email": ACCOUNT, "labels": LABELS, "callers": ["group:a@b.example"],
        "verify_key": VERIFYING, "encryption_key": KEY, "min_replicas": 2, "max_replicas": 9, "concurrency": 20,
        "traffic": {"serve-00001": 90, "serve-00002": 10}})
    on_cluster = pulumi.ResourceOptions(provider=pulumi_kubernetes.Provider("cluster", kubeconfig="{}"))
    ladder = gcp.Ladder("training", {"pools": ["spot", "on-demand"]}, on_cluster)
    beside = gcp.GkeEndpoint("beside", {
        "region": "us-central1", "subnetwork": NET["subnetwork"], "image": IMAGE, "labels": LABELS,
        "command": ["--model", "/artifacts/models/x"], "node_selector": ladder.node_selector, "verify_key": VERIFYING},
        on_cluster)
    gcp.Notebook("lab", {"zone": "us-central1-a", **NET, "service_account_email": ACCOUNT, "labels": LABELS})
    page = gcp.Dashboard("page", {"service": "serve", "notify": ["a@b.example"], "labels": LABELS})
    gcp.BudgetGuard("budget", {"project": "acme-dev", "billing_account": "000000-000000-000000", "usd_per_month": 100,
                               "location": "us-central1", "channels": page.channels, "labels": LABELS,
                               "store": "acme-dev-store", "service": "serve", "floor": 2, "dataflow": True,
                               "cluster": "control-plane.example", "namespace": "penstock"})
    gcp.GitHubAccess("acme", {"project": "acme-dev", "repository": "acme/penstock", "repository_id": "123456",
                              "deploys": ["dev", "prod"], "state": "acme-pulumi-state"})
    pulumi.export("options", beam.options)
    pulumi.export("url", served.url)
    pulumi.export("beside", beside.url)
"""
VERIFYING = "-----BEGIN PUBLIC KEY-----"
LABEL_FIELDS = ("labels", "resourceLabels", "userLabels")
FILTERED = "gcp:billing/budget:Budget"
"""What it calls labels says what is counted."""


@pytest.fixture(scope="module")
def deployed(tmp_path_factory, schemas, make_stack, policed):
    trial = make_stack(tmp_path_factory.mktemp("modules"), PROGRAM)
    (trial.folder / "program/verifying.pem").write_text(VERIFYING)
    trial.up(*policed)
    return trial


def inputs(deployed, kind):
    found = deployed.cloud.existing().values()
    return {each["inputs"]["name"]: each["inputs"] for each in found if each["type"].endswith(f":{kind}")}


def made(deployed, kind):
    """The inputs of all of a kind."""
    return [each["inputs"] for each in deployed.cloud.existing().values() if each["type"].endswith(f":{kind}")]


def test_every_module_deploys_alone_breaking_no_rule_and_a_second_time_changes_nothing(deployed):
    made = {each["type"].rpartition(":")[2] for each in deployed.cloud.existing().values()}
    assert {"Network", "Cluster", "NodePool", "Bucket", "Repository", "DatabaseInstance", "Service", "Instance"} <= made
    assert "unchanged" in deployed.up()
    assert not deployed.cloud.calls("update")


def labelled(token, schemas):
    """Where a resource may bear labels of Google's, by the SDK's own properties: at its top, or one block below."""
    known = schema.of(token, schemas)
    if known is None or token == FILTERED or token.startswith("kubernetes:"):
        return []
    found = [(field,) for field in LABEL_FIELDS if field in known["properties"]]
    for name, spec in known["properties"].items():
        block = known["types"].get(spec.get("of", ""))
        if spec["type"] == "object" and block:
            own = ("resourceLabels", "userLabels") if found else LABEL_FIELDS
            found += [(name, field) for field in own if field in block["properties"]]
    return found


def test_what_can_bear_labels_bears_them(deployed, schemas):
    """Not by the policies' table: each resource that the modules make, judged by what the SDK says of it."""
    bearing = set()
    for id_, each in deployed.cloud.existing().items():
        places = labelled(each["type"], schemas)
        if not places:
            continue
        bearing.add(each["type"])
        for place in places:
            own = each["inputs"]
            for field in place:
                own = own.get(field) or {}
            if {"environment", "owner", "model", "run"} <= set(own):
                break
        else:
            pytest.fail(f"{id_} may bear labels in {places}, and does not")
    assert len(bearing) >= 12


def test_every_resource_that_a_module_makes_is_free_or_told_by_a_row_of_the_estimate(deployed):
    image = "us-docker.pkg.dev/acme/penstock/trainer@sha256:" + "a" * 64
    base = {"project": "acme-dev", "owner": "me", "trainer_image": image, "server_image": image}
    budget = {"usd_per_month": 100, "billing_account": "000000-000000-000000"}
    whole = {**base, "study_database": True, "notebook": True, "budget": budget, "accelerator": {"type": "nvidia-l4"}}
    rows = [
        row
        for endpoint in ("cloud-run", "gke")
        for row in prices.rows(Environment(**whole, endpoint=endpoint, min_replicas=1), 1.0, prices.table())
    ]
    assert undecided((each["type"] for each in deployed.cloud.existing().values()), rows) == set()


def test_no_machine_has_a_public_address_and_nobody_may_call_unasked(deployed):
    assert all(pool["networkConfig"]["enablePrivateNodes"] for pool in inputs(deployed, "NodePool").values())
    (cluster,) = inputs(deployed, "Cluster").values()
    assert cluster["privateClusterConfig"]["enablePrivateNodes"]
    assert cluster["controlPlaneEndpointsConfig"]["ipEndpointsConfig"]["enabled"] is False
    (database,) = inputs(deployed, "DatabaseInstance").values()
    assert database["settings"]["ipConfiguration"]["ipv4Enabled"] is False
    (notebook,) = (n for n in inputs(deployed, "Instance").values())
    assert notebook["gceSetup"]["disablePublicIp"]
    assert all(bucket["publicAccessPrevention"] == "enforced" for bucket in inputs(deployed, "Bucket").values())
    everything = json.dumps(deployed.cloud.existing())
    assert "allUsers" not in everything
    assert "allAuthenticatedUsers" not in everything
    assert not re.search(r'"roles/(owner|editor|viewer|[a-z]+\.admin)"', everything)


def test_a_cluster_is_secure_and_has_what_jobs_servers_and_bills_need(deployed):
    (cluster,) = made(deployed, "Cluster")
    wanted = {
        "workloadIdentityConfig": {"workloadPool": "acme-dev.svc.id.goog"},
        "enableShieldedNodes": True,
        "enableLegacyAbac": False,
        "releaseChannel": {"channel": "REGULAR"},
        "datapathProvider": "ADVANCED_DATAPATH",
        "gatewayApiConfig": {"channel": "CHANNEL_STANDARD"},
        "nodePoolDefaults": {"nodeConfigDefaults": {"gcfsConfig": {"enabled": True}}},
        "costManagementConfig": {"enabled": True},
    }
    assert {field: cluster[field] for field in wanted} == wanted
    assert cluster["addonsConfig"]["gcsFuseCsiDriverConfig"] == {"enabled": True}
    assert cluster["monitoringConfig"]["managedPrometheus"] == {"enabled": True}
    for pool in made(deployed, "NodePool"):
        node = pool["nodeConfig"]
        assert node["shieldedInstanceConfig"] == {"enableSecureBoot": True, "enableIntegrityMonitoring": True}
        assert node["workloadMetadataConfig"] == {"mode": "GKE_METADATA"}
        assert node["gcfsConfig"] == {"enabled": True}


def test_a_network_has_one_way_out_and_reaches_googles_services_without_it(deployed):
    (network,), (subnetwork,), (nat,) = (made(deployed, kind) for kind in ("Network", "Subnetwork", "RouterNat"))
    assert network["autoCreateSubnetworks"] is False
    assert subnetwork["privateIpGoogleAccess"] is True
    assert [each["rangeName"] for each in subnetwork["secondaryIpRanges"]] == ["pods", "services"]
    assert nat["sourceSubnetworkIpRangesToNat"] == "ALL_SUBNETWORKS_ALL_IP_RANGES"
    assert nat["natIpAllocateOption"] == "AUTO_ONLY"


def test_an_endpoint_scales_and_splits_its_traffic_as_it_was_told(deployed):
    # Kubernetes' is called so too.
    (service,) = (each for each in made(deployed, "Service") if "traffics" in each)
    assert service["scaling"] == {"minInstanceCount": 2}
    assert service["template"]["scaling"] == {"maxInstanceCount": 9}
    assert service["template"]["maxInstanceRequestConcurrency"] == 20
    shares = {each["revision"]: (each["percent"], each["type"]) for each in service["traffics"]}
    by_revision = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
    assert shares == {"serve-00001": (90, by_revision), "serve-00002": (10, by_revision)}


def test_a_store_keeps_old_versions_for_a_month_and_models_for_ever_and_images_keep_their_tags(deployed):
    store = inputs(deployed, "Bucket")["acme-dev-store"]
    assert store["versioning"] == {"enabled": True}
    rules = [(rule["action"]["type"], rule["condition"]) for rule in store["lifecycleRules"]]
    assert rules == [
        ("Delete", {"age": 7, "matchesPrefixes": ["tmp/"]}),
        ("Delete", {"daysSinceNoncurrentTime": 30, "withState": "ARCHIVED"}),
        ("AbortIncompleteMultipartUpload", {"age": 7}),
        ("Delete", {"age": 90, "matchesPrefixes": ["raw/", "dataset/", "study/"]}),
    ]
    (repository,) = made(deployed, "Repository")
    assert repository["dockerConfig"] == {"immutableTags": True}


def test_a_notebook_sleeps_after_an_hour_and_alarms_reach_people(deployed):
    (notebook,) = made(deployed, "Instance")
    assert notebook["gceSetup"]["metadata"]["idle-timeout-seconds"] == "3600"
    existing = deployed.cloud.existing()
    channels = [each["outputs"]["name"] for each in existing.values() if each["type"].endswith(":NotificationChannel")]
    assert len(channels) == 1
    alarms = made(deployed, "AlertPolicy")
    assert [each["notificationChannels"] for each in alarms] == [channels] * 2


def test_a_pipeline_on_dataflow_is_private_labelled_and_runs_as_its_own_account(deployed):
    options = deployed.outputs()["options"]
    assert {
        "--project=acme-dev",
        "--region=us-central1",
        "--temp_location=gs://b/tmp/dataflow",
        "--no_use_public_ips",
        "--subnetwork=projects/acme-dev/regions/r/subnetworks/n",
        "--service_account_email=someone@acme-dev.iam.gserviceaccount.com",
        "--max_num_workers=8",
        *(f"--labels={label}" for label in ("environment=dev", "owner=me", "model=flights", "run=shared")),
    } <= set(options)


def test_a_budget_tells_its_channels_and_its_function_at_every_stage_what_to_act_on(deployed):
    (budget,) = made(deployed, "Budget")
    assert budget["amount"] == {"specifiedAmount": {"currencyCode": "USD", "units": "100"}}
    assert [rule["thresholdPercent"] for rule in budget["thresholdRules"]] == [0.5, 0.8, 1]
    (function,), (topic,) = (made(deployed, kind) for kind in ("Function", "Topic"))
    assert budget["allUpdatesRule"]["pubsubTopic"] == function["eventTrigger"]["pubsubTopic"]
    assert budget["allUpdatesRule"]["pubsubTopic"].endswith(f"/{topic['name']}")
    assert len(budget["allUpdatesRule"]["monitoringNotificationChannels"]) == 1
    # As the function reads it.
    read = guarded.Guarded(**json.loads(function["serviceConfig"]["environmentVariables"][guarding.SETTINGS]))
    place = "projects/acme-dev/locations/us-central1"
    assert read == guarded.Guarded(
        stages={"warn": 0.5, "stop_trials": 0.8, "scale_to_zero": 1.0},
        records="acme-dev-budget-guard",
        store="acme-dev-store",
        service=f"{place}/services/serve",
        floor=2,
        cluster="control-plane.example",
        namespace="penstock",
        dataflow=place,
        environment="dev",
    )


def test_the_engine_keeps_what_holds_data_or_serves_and_nothing_else(deployed):
    kept = {each["urn"].rpartition("::")[2] for each in deployed.state() if each.get("protect")}
    assert kept == {
        *("gke-gke", "gke-system", "store-bucket", "budget-guard-bucket", "studies-instance", "serve-service"),
        *("beside-deployment", "beside-address", "beside-gateway"),
    }


def test_what_holds_data_is_protected_by_default(deployed):
    (cluster,) = inputs(deployed, "Cluster").values()
    (database,) = inputs(deployed, "DatabaseInstance").values()
    assert cluster["deletionProtection"]
    assert database["deletionProtection"]
    assert not any(bucket["forceDestroy"] for bucket in inputs(deployed, "Bucket").values())


def test_workflows_of_one_repository_get_in_and_each_by_its_own_environment(deployed):
    existing = deployed.cloud.existing().values()
    (provider,) = (each["inputs"] for each in existing if each["type"].endswith(":WorkloadIdentityPoolProvider"))
    assert provider["attributeCondition"] == (
        "assertion.repository == 'acme/penstock' && assertion.repository_id == '123456'"
    )
    assert provider["attributeMapping"]["attribute.environment"] == "assertion.environment"
    entries = [each["inputs"] for each in existing if "principalSet" in str(each["inputs"].get("member"))]
    assert {each["member"].rpartition("/attribute.")[2] for each in entries} == {
        "environment/dev",
        "environment/prod",
        "environment/preview-dev",
    }
    assert {each["role"] for each in entries} == {"roles/iam.workloadIdentityUser"}


def test_who_deploys_may_grant_the_modules_roles_and_no_other_and_who_looks_changes_nothing(deployed):
    existing = deployed.cloud.existing().values()
    roles = {r["inputs"]["roleId"]: r["inputs"]["permissions"] for r in existing if r["type"].endswith("IAMCustomRole")}
    changing = (".create", ".delete", ".update", ".setIamPolicy", ".write", ".use", ".actAs")
    assert not [each for each in roles["acme_viewer"] if each.endswith(changing)]
    assert "resourcemanager.projects.setIamPolicy" not in roles["acme_deployer"]
    assert not [each for permissions in roles.values() for each in permissions if "*" in each]
    grants = [each["inputs"] for each in existing if each["type"] == "gcp:projects/iAMMember:IAMMember"]
    (grant,) = (each for each in grants if "condition" in each)
    said = grant["condition"]["expression"]
    assert "modifiedGrantsByRole" in said
    made = {each["role"] for each in grants if each["role"].startswith("roles/")}
    assert made == set(GRANTED), "what the modules grant is what may be granted"
    assert all(f"'{role}'" in said for role in (*made, "projects/acme-dev/roles/penstock_prod_guard"))


def test_an_endpoint_and_a_ladder_are_of_use_on_any_cluster(deployed):
    existing = deployed.cloud.existing().values()
    (ladder,) = (each["inputs"] for each in existing if each["type"].endswith(":ComputeClass"))
    assert ladder["metadata"]["name"] == "training"
    assert ladder["spec"]["priorities"] == [{"nodepools": ["spot"]}, {"nodepools": ["on-demand"]}]
    (served,) = (each["inputs"] for each in existing if each["type"].endswith(":Deployment"))
    assert served["spec"]["template"]["spec"]["nodeSelector"] == {"cloud.google.com/compute-class": "training"}
    assert deployed.outputs()["beside"].startswith("http://10.")


def test_a_key_is_a_file_of_the_servers_alone_and_nowhere_in_plain_text(deployed):
    existing = {each["inputs"].get("secretId", id_): each for id_, each in deployed.cloud.existing().items()}
    grants = [each["inputs"] for each in existing.values() if each["type"].endswith(":SecretIamMember")]
    (grant,) = grants
    assert (grant["secretId"], grant["role"]) == ("serve-verify-key", "roles/secretmanager.secretAccessor")
    (service,) = (each["inputs"] for each in existing.values() if each["type"].endswith("cloudrunv2/service:Service"))
    assert grant["member"] == f"serviceAccount:{service['template']['serviceAccount']}"
    (volume,) = (each for each in service["template"]["volumes"] if each["name"] == "keys")
    assert volume["secret"] == {"secret": "serve-verify-key", "items": [{"path": "verifying.pem", "version": "1"}]}
    (container,) = service["template"]["containers"]
    assert {"name": "keys", "mountPath": "/keys"} in container["volumeMounts"]
    assert container["args"][-2:] == ["--verify-key", "/keys/verifying.pem"]
    (held,) = (each["inputs"] for each in existing.values() if each["type"] == "kubernetes:core/v1:Secret")
    (served,) = (each["inputs"] for each in existing.values() if each["type"].endswith(":Deployment"))
    volumes = served["spec"]["template"]["spec"]["volumes"]
    assert {"secretName": held["metadata"]["name"], "defaultMode": 0o440} in [each.get("secret") for each in volumes]
    assert VERIFYING not in json.dumps(deployed.state())


def test_whoever_encrypts_by_ones_own_key_may_and_nobody_else(deployed):
    existing = deployed.cloud.existing().values()
    grants = [each["inputs"] for each in existing if each["type"] == "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember"]
    assert {each["role"] for each in grants} == {"roles/cloudkms.cryptoKeyEncrypterDecrypter"}
    assert {each["member"].partition("@")[2].partition(".")[0] for each in grants} == {
        "gs-project-accounts",
        "compute-system",
        "container-engine-robot",
        "dataflow-service-producer-prod",
        "gcp-sa-sqladmin",
        "gcp-sa-artifactregistry",
        "gcp-sa-secretmanager",
    }
    assert all(each["member"].startswith("serviceAccount:service-123456789012@") for each in grants)


def test_accelerators_stand_on_the_machines_that_have_them(deployed):
    pools = inputs(deployed, "NodePool")
    node = {name: pool["nodeConfig"] for name, pool in pools.items()}
    assert node["l4"]["machineType"] == "g2-standard-8"
    assert node["l4"]["guestAccelerators"][0]["gpuSharingConfig"]["maxSharedClientsPerGpu"] == 4
    assert node["l4"]["spot"]
    assert node["a100"]["flexStart"]
    assert node["a100"]["guestAccelerators"][0]["gpuPartitionSize"] == "1g.5gb"
    assert pools["v5e"]["placementPolicy"]["tpuTopology"] == "4x4"
    assert pools["v5e"]["queuedProvisioning"]["enabled"]
    assert node["v5p"]["reservationAffinity"]["values"] == ["r1"]
    assert node["v6e"]["machineType"] == "ct6e-standard-8t"
    assert "placementPolicy" not in pools["v6e"], "one machine is the whole slice"
    assert "placementPolicy" not in pools["ironwood"]
    assert pools["ironwoods"]["placementPolicy"]["policyName"] == "ironwoods"
    (policy,) = made(deployed, "ResourcePolicy")
    assert policy["region"] == "us-central1"
    assert policy["workloadPolicy"] == {"type": "HIGH_THROUGHPUT", "acceleratorTopology": "2x2x2"}
    assert all(pool["autoscaling"]["totalMinNodeCount"] == 0 for name, pool in pools.items() if name != "system")


@pytest.mark.parametrize(
    "name", ["Network", "Subnetwork", "Router", "RouterNat", "Firewall", "Address", "GlobalAddress", "ResourcePolicy"]
)
def test_the_light_classes_declare_what_the_sdk_declares(name, schemas):
    ours = getattr(compute, name)
    known = schema.of(ours._type, schemas)
    assert known is not None
    outputs = [ours.translate_input_property(None, each) for each in inspect.get_annotations(ours)]
    assert {known["outputs"][each]["type"] for each in outputs if each[0] != "_"} <= {"string"}
