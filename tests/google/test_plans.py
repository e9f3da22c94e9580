"""Thousands of files of settings: what is accepted is planned by Penstock's own program, and no plan is open to all.

Pulumi's mocks stand for the engine here; the stacks' own files are planned by the real one (test_stacks.py).
"""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pulumi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from settings import Settings, SettingsError
from standin import computed

from penstock import Pipeline, PipelineArgs
from penstock.errors import PenstockError
from penstock.gcp.platform import GcpPlatform

IMAGE = "us-docker.pkg.dev/acme/penstock/trainer@sha256:" + "a" * 64
BASE = {"project": "acme-dev", "owner": "me", "trainer_image": IMAGE, "server_image": IMAGE}
PUBLIC = ("allUsers", "allAuthenticatedUsers", "0.0.0.0/0", "::/0")
BUDGET = {"usd_per_month": 100, "billing_account": "000000-000000-000000"}
WRONG = st.sampled_from([None, -1, 0, "", "allUsers", "*", [], {}, "latest", 10**12, True, 1.5])

GPUS = st.fixed_dictionaries(
    {"type": st.sampled_from(["nvidia-l4", "nvidia-a100-80gb"])},
    optional={
        "provisioning": st.sampled_from(["spot", "on-demand", "flex-start"]),
        "sharing": st.integers(1, 4),
        "max_nodes": st.integers(1, 9),
    },
)
TPU = st.fixed_dictionaries(
    {"type": st.sampled_from(["tpu-v6e", "tpu-v5e"]), "topology": st.sampled_from(["2x2", "2x4"])},
    optional={"provisioning": st.sampled_from(["spot", "on-demand", "flex-start"])},
)
common = {
    "region": st.sampled_from(["us-central1", "europe-west4"]),
    "zones": st.just([]),
    "callers": st.lists(st.sampled_from(["group:a@b.example", "user:c@b.example"]), unique=True),
    "budget": st.fixed_dictionaries(
        {k: st.just(v) for k, v in BUDGET.items()}, optional={"endpoint_floor": st.just(0)}
    ),
    "notebook": st.booleans(),
    "protect": st.booleans(),
    "encryption_key": st.just("projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"),
}
training = {
    "machine_type": st.sampled_from(["e2-standard-4", "n2-standard-8"]),
    "max_nodes": st.integers(1, 40),
    "spot": st.booleans(),
    "accelerator": GPUS | TPU,
    "beam": st.sampled_from(["in-process", "dataflow"]),
    "study_database": st.booleans(),
}
promoted = st.just({"model": "sha256:" + "0" * 64, "model_store": "elsewhere"})
cloud_run = st.fixed_dictionaries(
    {"min_replicas": st.integers(0, 3), "max_replicas": st.integers(3, 9)}, optional={"internet": st.booleans()}
)
on_gke = st.fixed_dictionaries(
    {"endpoint": st.just("gke"), "min_replicas": st.integers(1, 3), "max_replicas": st.integers(3, 9)}
)
right = st.builds(
    lambda own, made, served: {
        **own,
        **made,
        **served,
        **({"region": "us-central1"} if "encryption_key" in own else {}),
    },
    st.fixed_dictionaries({}, optional=common),
    st.fixed_dictionaries({}, optional=training) | promoted,
    cloud_run | on_gke,
)
"""Environments that are all valid, so that each of them is planned."""
spoiled = st.dictionaries(st.sampled_from(sorted([*Settings.model_fields, "nonsense"])), WRONG, max_size=2)
inside = st.dictionaries(
    st.sampled_from(["callers", "server_image", "region", "project", "zones", "x"]), WRONG, max_size=1
)


def config_of(fields):
    """A stack's configuration with such an environment: raw files in a bucket, the accelerator's own strategy."""
    strategy = "tpu" if "tpu" in str(fields.get("accelerator")) else "parameter-server"
    own = {"platform": "gcp", "gcp": json.dumps({**BASE, **fields}), "raw": "gs://acme/*.csv", "strategy": strategy}
    return {f"penstock:{key}": value for key, value in own.items()}


def read(config):
    """The settings, or what is wrong with them."""
    try:
        return Settings.from_config(config), ""
    except SettingsError as exc:
        return None, str(exc)


class Recorded(pulumi.runtime.Mocks):
    """What a program registers, with the few outputs that it builds upon."""

    def __init__(self):
        self.resources = []

    def new_resource(self, args):
        self.resources.append((args.typ, args.name, args.inputs))
        email = f"{args.name}@acme-dev.iam.gserviceaccount.com"
        known = {"email": email, "member": f"serviceAccount:{email}", "name": args.name, "uniqueId": "1"}
        known |= {
            "selfLink": args.name,
            "uri": "https://a.run.app",
            "privateIpAddress": "10.60.0.3",
            "address": "10.0.0.9",
        }
        known |= {"proxyUri": "a", "folder": "models/a", "path": "/artifacts/a", "digest": "sha256:a"}
        known |= {"counts": {}, "metrics": {"decision": {}}, "registryUri": "a"}
        return args.name, {**known, **args.inputs}

    def call(self, args):
        assert args.token == computed.STORAGE_AGENT, args.token
        return computed.storage_agent(args.args)


def planned(chosen, problem="flights", raw=(), folder=None, endpoint=None, **training):
    """What Penstock's program registers for an environment."""
    recorded = Recorded()
    # Pulumi's test runtime makes an event loop in every thread that has none, and never closes it.
    loops = []

    def own_loop():
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    loop, threads = asyncio.new_event_loop(), ThreadPoolExecutor(initializer=own_loop)
    loop.set_default_executor(threads)
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_mocks(recorded, preview=False)

    @pulumi.runtime.test
    def run():
        platform = GcpPlatform("dev", chosen.gcp, "flights", folder)
        platform.estimated_cost()
        if chosen.promoted:
            opts = pulumi.ResourceOptions()
            platform.storage("flow-store", (), opts)
            platform.promoted("flow-model", opts)
        else:
            stages = {"preprocessing": {"raw": raw}, "training": training, "endpoint": endpoint or {}}
            Pipeline("flow", PipelineArgs(platform=platform, problem=problem, **stages))

    try:
        run()
        while pending := asyncio.all_tasks(loop):
            loop.run_until_complete(asyncio.gather(*pending))
    finally:
        threads.shutdown()
        for each in (loop, *loops):
            each.close()
        asyncio.set_event_loop(None)
    return recorded.resources


def judged(resources):
    """What is open to somebody it should not be."""
    for token, name, inputs in resources:
        role = inputs.get("role")
        if token == "gcp:storage/bucket:Bucket":
            yield name, inputs.get("publicAccessPrevention") != "enforced" or not inputs.get("uniformBucketLevelAccess")
        elif token == "gcp:container/nodePool:NodePool":
            yield name, inputs.get("networkConfig", {}).get("enablePrivateNodes") is not True
        elif token == "gcp:container/cluster:Cluster":
            yield name, not inputs.get("privateClusterConfig", {}).get("enablePrivateNodes")
        elif token == "gcp:workbench/instance:Instance":
            yield name, inputs["gceSetup"].get("disablePublicIp") is not True
        elif token == "gcp:sql/databaseInstance:DatabaseInstance":
            yield name, inputs["settings"]["ipConfiguration"]["ipv4Enabled"] is not False
        elif token.startswith("kubernetes:rbac"):
            yield name, "*" in json.dumps(inputs)
        elif token.endswith("IAMCustomRole"):
            yield name, any("*" in each for each in inputs["permissions"])
        elif isinstance(role, str):
            yield name, bool(re.search(r"\*|^roles/(owner|editor|viewer)$|[aA]dmin$", role))
        # The way out is to everywhere by 443 alone, which is no way in.
        text = json.dumps(
            {} if token.endswith(":NetworkPolicy") and "egress" in inputs["spec"] else inputs, default=str
        )
        yield name, any(f'"{public}"' in text for public in PUBLIC)


@settings(max_examples=2000, deadline=None)
@given(right, inside, spoiled)
def test_every_file_is_taken_or_refused_in_words(fields, wrong, others):
    """Thousands of whole files: of an environment that may be right, of one with a fault, and of other settings."""
    config = config_of({**fields, **wrong})
    config |= {
        f"penstock:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in others.items()
    }
    taken, told = read(config)
    assert (taken is None) == bool(told)
    assert taken is None or taken.gcp is None or not set(PUBLIC) & set(taken.gcp.callers)


# The SDK warns of functions of its own that it has given up, when it is imported.
@pytest.mark.filterwarnings("ignore:gcp:DeprecationWarning")
@settings(max_examples=60, deadline=None)
@given(right)
def test_no_plan_has_a_wildcard_role_a_public_bucket_or_a_public_node(fields):
    chosen, told = read(config_of(fields))
    assert chosen is not None, told
    resources = planned(chosen, raw=chosen.raw, strategy=chosen.strategy)
    assert len(resources) > 15
    assert [name for name, open_ in judged(resources) if open_] == []


@pytest.mark.filterwarnings("ignore:gcp:DeprecationWarning")
@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"raw": ["data/*.csv"]}, "files 'data/\\*.csv' are on this machine, .*gs://"),
        ({"raw": ["/data/*.csv"]}, "files '/data/\\*.csv' are on this machine"),
        ({"sign_key": "keys/mine.pem"}, "the key 'keys/mine.pem' cannot be read: No such file"),
        ({"problem": "absent.py"}, "the problem 'absent.py' cannot be read: No such file"),
    ],
)
def test_files_of_this_machine_that_no_pod_would_find_are_refused_before_anything_is_made(files, told, tmp_path):
    chosen, _ = read({"penstock:platform": "gcp", "penstock:gcp": json.dumps(BASE)})
    assert chosen is not None
    with pytest.raises(PenstockError, match=told):
        planned(chosen, folder=tmp_path, **files)


@pytest.mark.filterwarnings("ignore:gcp:DeprecationWarning")
def test_with_ones_own_key_all_that_keeps_data_is_encrypted_by_it_and_may_be(tmp_path):
    key = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    everything = {"study_database": True, "notebook": True, "beam": "dataflow", "budget": BUDGET}
    chosen, told = read(config_of({**everything, "accelerator": {"type": "nvidia-l4"}, "encryption_key": key}))
    assert chosen is not None, told
    (tmp_path / "verifying.pem").write_text("what the server verifies by")
    resources = planned(chosen, raw=chosen.raw, folder=tmp_path, endpoint={"verify_key": "verifying.pem"})
    places = {
        "gcp:storage/bucket:Bucket": lambda own: own["encryption"]["defaultKmsKeyName"],
        "gcp:sql/databaseInstance:DatabaseInstance": lambda own: own["encryptionKeyName"],
        "gcp:artifactregistry/repository:Repository": lambda own: own["kmsKeyName"],
        "gcp:container/cluster:Cluster": lambda own: own["databaseEncryption"]["keyName"],
        "gcp:container/nodePool:NodePool": lambda own: own["nodeConfig"]["bootDiskKmsKey"],
        "gcp:secretmanager/secret:Secret": lambda own: own["replication"]["userManaged"]["replicas"][0][
            "customerManagedEncryption"
        ]["kmsKeyName"],
        "gcp:workbench/instance:Instance": lambda own: own["gceSetup"]["dataDisks"]["kmsKey"],
    }
    found = [(token, places[token](own)) for token, _, own in resources if token in places]
    assert {token for token, _ in found} == set(places)
    assert {each for _, each in found} == {key}
    assert f"--dataflow_kms_key={key}" in json.dumps([own for token, _, own in resources if "JobSet" in token])
    granted = [name for token, name, _ in resources if token.endswith(":CryptoKeyIAMMember")]
    uses = ("buckets", "cluster", "database", "dataflow", "disks", "images")
    assert sorted(granted) == ["flow-serve-server-secrets", *(f"penstock-dev-{use}" for use in uses)]


@pytest.mark.filterwarnings("ignore:gcp:DeprecationWarning")
@pytest.mark.parametrize("endpoint", ["cloud-run", "gke"])
def test_an_image_that_another_stack_has_pushed_may_be_pulled_by_all_that_run_it_and_ones_own_needs_no_leave(endpoint):
    def pulled(image):
        images = {"trainer_image": image, "server_image": image, "beam": "dataflow", "min_replicas": 1}
        chosen, told = read(config_of({**images, "endpoint": endpoint}))
        assert chosen is not None, told
        grants = [own for token, _, own in planned(chosen, raw=chosen.raw) if token.endswith(":RepositoryIamMember")]
        return [own for own in grants if own.get("project") == "acme-build"], grants

    elsewhere, _ = pulled("europe-west4-docker.pkg.dev/acme-build/penstock-dev/trainer@sha256:" + "a" * 64)
    assert {(own["location"], own["repository"]) for own in elsewhere} == {("europe-west4", "penstock-dev")}
    members = {own["member"].partition("@")[0] for own in elsewhere}
    readers = {"serviceAccount:penstock-dev-nodes", "serviceAccount:penstock-dev-beam"}
    assert members == (readers if endpoint == "gke" else {*readers, "serviceAccount:penstock-dev-run"})
    none, own = pulled("us-central1-docker.pkg.dev/acme-dev/penstock-dev/trainer@sha256:" + "a" * 64)
    assert none == []
    assert len(own) == 3, "nodes, server and beam"


@pytest.mark.filterwarnings("ignore:gcp:DeprecationWarning")
def test_with_a_certificate_an_endpoint_on_gke_is_https():
    served = {"endpoint": "gke", "min_replicas": 1, "endpoint_host": "late.example.com", "endpoint_certificate": "late"}
    chosen, told = read(config_of(served))
    assert chosen is not None, told
    (gateway,) = (own for token, _, own in planned(chosen, raw=chosen.raw) if token.endswith(":Gateway"))
    (listener,) = gateway["spec"]["listeners"]
    assert (listener["protocol"], listener["port"]) == ("HTTPS", 443)
    assert listener["tls"]["options"] == {"networking.gke.io/pre-shared-certs": "late"}


@pytest.mark.filterwarnings("ignore:gcp:DeprecationWarning")
def test_raw_files_in_a_bucket_are_named_as_they_are():
    chosen, _ = read({"penstock:platform": "gcp", "penstock:gcp": json.dumps(BASE)})
    assert chosen is not None
    made = json.dumps([each for token, _, each in planned(chosen, raw=["gs://acme/late/*.csv"]) if "JobSet" in token])
    assert "gs://acme/late/*.csv" in made


@pytest.mark.filterwarnings("ignore:gcp:DeprecationWarning")
@pytest.mark.parametrize("endpoint", ["cloud-run", "gke"])
def test_keys_of_this_machine_reach_those_who_sign_and_verify_and_nobody_else(endpoint, tmp_path):
    (tmp_path / "signing.pem").write_text("PRIVATE")
    (tmp_path / "verifying.pem").write_text("PUBLIC")
    chosen, told = read(config_of({"endpoint": endpoint, "min_replicas": 1}))
    assert chosen is not None, told
    keys = {"sign_key": "signing.pem", "endpoint": {"verify_key": "verifying.pem"}}
    resources = planned(chosen, raw=chosen.raw, folder=tmp_path, **keys)
    made = {name: inputs for _, name, inputs in resources}
    holding = {name for name, inputs in made.items() if "PRIVATE" in json.dumps(inputs, default=str)}
    assert holding == {"flow-train-model-keys"}
    secret = made["flow-train-model-keys"]["metadata"]
    assert secret["namespace"] == "penstock"
    mounting = {name for name, inputs in made.items() if f'"{secret["name"]}"' in json.dumps(inputs, default=str)}
    assert mounting == {"flow-train-model-keys", "flow-train-model"}
    for job in made["flow-train-model"]["spec"]["replicatedJobs"]:
        pod = job["template"]["spec"]["template"]["spec"]
        arguments = pod["containers"][0]["args"]
        assert arguments[arguments.index("--sign-key") :][:2] == ["--sign-key", "/keys/signing.pem"]
        assert pod["serviceAccountName"] == "trainer"
    if endpoint == "gke":
        server = made["flow-serve-server-deployment"]["spec"]["template"]["spec"]
        (volume,) = (each["secret"] for each in server["volumes"] if each["name"] == "keys")
        assert volume["secretName"] == made["flow-serve-server-keys"]["metadata"]["name"]
    else:
        server = made["flow-serve-server-service"]["template"]
        version = made["flow-serve-server-key-version"]
        assert version["secretDataWo"]["value"] == "PUBLIC"
        grant = made["flow-serve-server-key-server"]
        assert grant["role"] == "roles/secretmanager.secretAccessor"
        assert grant["member"] == "serviceAccount:penstock-dev-server@acme-dev.iam.gserviceaccount.com"
    arguments = server["containers"][0]["args"]
    assert arguments[arguments.index("--verify-key") :][:2] == ["--verify-key", "/keys/verifying.pem"]


@pytest.mark.filterwarnings("ignore:gcp:DeprecationWarning")
def test_a_replica_on_gke_goes_after_the_pause_that_is_set_and_cloud_run_takes_none():
    def served(**fields):
        chosen, told = read(config_of(fields))
        assert chosen is not None, told
        return planned(chosen, raw=chosen.raw, endpoint={"idle_seconds": 20})

    made = {name: inputs for _, name, inputs in served(endpoint="gke", min_replicas=1)}
    behavior = made["flow-serve-server-scaling"]["spec"]["behavior"]
    assert behavior == {"scaleDown": {"stabilizationWindowSeconds": 20}}
    with pytest.raises(PenstockError, match=r"'idle_seconds' is 20, and Cloud Run decides by itself"):
        served()


@pytest.mark.filterwarnings("ignore:gcp:DeprecationWarning")
def test_a_job_on_dataflow_bears_its_run_as_pods_do_and_another_run_another():
    def runs(raw):
        chosen, told = read(config_of({"beam": "dataflow"}))
        assert chosen is not None, told
        made = {name: own for token, name, own in planned(chosen, raw=raw) if token.endswith(":JobSet")}
        found = {}
        for name, own in made.items():
            (chief,) = (job for job in own["spec"]["replicatedJobs"] if job["name"] == "chief")
            pod = chief["template"]["spec"]["template"]
            arguments = pod["spec"]["containers"][0]["args"]
            found[name] = pod["metadata"]["labels"]["run"], [a for a in arguments if a.startswith("--labels=run=")]
        return found

    first = runs(["gs://acme/*.csv"])
    run, options = first.pop("flow-preprocess-dataset")
    assert options == [f"--labels=run={run}"]
    assert re.fullmatch(r"[a-z0-9_-]{1,63}", run), "what Dataflow takes as a label's value"
    assert run != "shared"
    assert not [options for _, options in first.values() if options], "no other job is on Dataflow"
    assert runs(["gs://acme/*.csv"])["flow-preprocess-dataset"][0] == run
    assert runs(["gs://acme/late/*.csv"])["flow-preprocess-dataset"][0] != run


@pytest.mark.filterwarnings("ignore:gcp:DeprecationWarning")
@pytest.mark.parametrize(
    ("accelerator", "labels", "device", "count"),
    [
        ({"type": "nvidia-l4", "count": 2}, {"gke-accelerator": "nvidia-l4"}, "nvidia.com/gpu", 2),
        (
            {"type": "tpu-v6e", "topology": "2x4"},
            {"gke-tpu-accelerator": "tpu-v6e-slice", "gke-tpu-topology": "2x4"},
            "google.com/tpu",
            8,
        ),
    ],
)
def test_what_trains_asks_for_the_accelerator_by_the_ladder_that_has_it_spot_machines_first(
    accelerator, labels, device, count
):
    chosen, told = read(config_of({"accelerator": accelerator}))
    assert chosen is not None, told
    resources = planned(chosen, raw=chosen.raw, strategy=chosen.strategy)
    made = {(token.rpartition(":")[2], name): own for token, name, own in resources}
    ladder = "cloud.google.com/compute-class"
    for job in made["JobSet", "flow-train-model"]["spec"]["replicatedJobs"]:
        pod = job["template"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        if job["name"] == "ps":
            assert pod["nodeSelector"] == {ladder: "penstock-training"}, "which computes nothing"
            assert device not in container["resources"]["limits"]
            continue
        wanted = {f"cloud.google.com/{label}": value for label, value in labels.items()}
        assert pod["nodeSelector"] == {ladder: "penstock-accelerated", **wanted}
        assert int(container["resources"]["limits"][device]) == count
    rungs = made["ComputeClass", "penstock-dev-penstock-accelerated"]["spec"]["priorities"]
    assert rungs == [{"nodepools": ["accelerated-spot"]}, {"nodepools": ["accelerated-on-demand"]}]
    for kind in ("spot", "on-demand"):
        config = made["NodePool", f"accelerated-{kind}-pool"]["nodeConfig"]
        assert config["labels"] == {ladder: "penstock-accelerated"}
        assert config["taints"] == [{"key": ladder, "value": "penstock-accelerated", "effect": "NO_SCHEDULE"}]
        assert config.get("spot", False) == (kind == "spot")


def test_the_judge_sees_what_is_open():
    bucket = {"publicAccessPrevention": "inherited", "uniformBucketLevelAccess": True}
    grant = {"role": "roles/storage.objectViewer", "member": "allUsers"}
    found = [
        ("gcp:storage/bucket:Bucket", "bucket", bucket),
        ("gcp:storage/bucketIAMMember:BucketIAMMember", "grant", grant),
        ("gcp:projects/iAMMember:IAMMember", "owner", {"role": "roles/owner", "member": "user:a@b.example"}),
        ("gcp:container/nodePool:NodePool", "pool", {}),
    ]
    assert {name for name, open_ in judged(found) if open_} == {"bucket", "grant", "owner", "pool"}
