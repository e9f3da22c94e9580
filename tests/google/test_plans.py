"""Thousands of files of settings: what is accepted is planned by Penstock's own program, and no plan is open to all.

The plans are made without an engine (eager.py); that Pulumi's own runtime plans the same is tested too, and the stacks'
own files are planned by the engine (test_stacks.py).
"""

import asyncio
import dataclasses
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import drawn
import eager
import pulumi
import pytest
from decided import undecided
from drawn import BASE, BUDGET, KEYS, WRONG
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from settings import Settings
from standin import computed
from standin import inputs as strict

from penstock.gcp import AcceleratorPool, accelerators, prices
from penstock.gcp.environment import Accelerator, Budget, Environment, Stages
from penstock.gcp.pool import PoolArgs
from penstock_policies import accounts, encryption, exposure, images, labels, permissions, pods, protection
from penstock_policies import resource as policies

STACKS = Path(__file__).resolve().parents[2] / "stacks"
PROGRAM = compile((STACKS / "__main__.py").read_text(), STACKS / "__main__.py", "exec")
PUBLIC = ("allUsers", "allAuthenticatedUsers", "0.0.0.0/0", "::/0")
# The SDK warns of functions of its own that it has given up, when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:gcp:DeprecationWarning")


def config_of(fields, **top):
    """A stack's configuration with such an environment: raw files in a bucket, the accelerator's own strategy."""
    strategy = "tpu" if "tpu" in str(fields.get("accelerator")) else "parameter-server"
    return drawn.config(
        {"platform": "gcp", "gcp": {**BASE, **fields}, "raw": ["gs://acme/*.csv"], "strategy": strategy, **top}
    )


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


class Refused(Exception):
    """What the program says where it refuses its settings."""


def planned(config, folder=STACKS.parent, run=eager.run):
    """What Penstock's program registers for a stack's configuration; raises Refused."""
    recorded, said = Recorded(), []
    changes = {"platforms.PROJECT": folder, "pulumi.get_stack": lambda: "dev", "pulumi.log.error": said.append}
    with ExitStack() as stack:
        # As `make` does: the plugin's project is the stack's.
        project = re.search(r'"project": "(.+?)"', config["penstock:gcp"])
        told = {"GOOGLE_PROJECT": project[1]} if project else {}
        stack.enter_context(mock.patch.dict(os.environ, PULUMI_CONFIG=json.dumps(config), **told))
        for name, value in {**changes, "pulumi.log.info": lambda *_: None}.items():
            stack.enter_context(mock.patch(name, value))
        try:
            run(recorded, lambda: exec(PROGRAM, {"__name__": "__main__"}))
        except SystemExit as exc:
            # It tells the engine that whoever it is has read why.
            raise Refused("\n".join(said)) if said and exc.code == 32 else exc from None
    return recorded.resources


def by_pulumi(mocks, program):
    """Runs a program by Pulumi's own test runtime, to the end of all that it began."""
    # It makes an event loop in every thread that has none, and never closes it.
    loops = []

    def own_loop():
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    loop, threads = asyncio.new_event_loop(), ThreadPoolExecutor(initializer=own_loop)
    loop.set_default_executor(threads)
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_mocks(mocks, preview=False)
    try:
        pulumi.runtime.test(program)()
        while pending := asyncio.all_tasks(loop):
            loop.run_until_complete(asyncio.gather(*pending))
    finally:
        threads.shutdown()
        for each in (loop, *loops):
            each.close()
        asyncio.set_event_loop(None)


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


def plain(own):
    """A resource's inputs as text; of an asset its kind, as two are never the same."""
    return json.dumps(own, sort_keys=True, default=lambda asset: type(asset).__name__)


RULES = [module.RULE for module in (accounts, encryption, exposure, images, labels, permissions, pods)]
RULES += [protection.DATA]


def faults(resources, schemas, seen, config):
    """What is open, breaks a rule of the policy pack, or is refused by the strict stand-in, of what is not yet seen."""
    own = policies.Settings.read("dev", config["penstock:gcp"])
    # What a stack may cost is judged by the whole.
    judge = dataclasses.replace(own, usd_per_hour_at_most=None, usd_per_month=None)
    for token, name, own in resources:
        key = (token, plain(own), judge)
        if key in seen:
            continue
        seen.add(key)
        yield from (f"{token} {each} is open" for each, open_ in judged([(token, name, own)]) if open_)
        resource = policies.Resource(token, name, own, protected=True, settings=judge)
        yield from (f"{rule.name}: {name} {found}" for rule in RULES for found in rule.findings(resource))
        if token.startswith(("gcp:", "kubernetes:")):
            yield from (f"{token} {name}: {where}: {why}" for where, why in strict.problems(token, own, schemas))


ELSEWHERE = {"cluster", "traffic", "rollout", "token_file", "certificate", "private_key", "grpc_port"}
ELSEWHERE |= {"min_replicas", "max_replicas", "monitoring.webhook", "tensorboard_port"}
"""Settings of other platforms, which on Google Cloud are refused or change nothing."""
WITH = {
    "cluster": {"trainer_image": drawn.IMAGES[0], "serving_image": drawn.IMAGES[0]},
    "traffic": {"latest": 1},
    "rollout": {},
    "token_file": "tokens",
    "certificate": "certificate.pem",
    "private_key": "key.pem",
    "grpc_port": 9000,
    "min_replicas": 2,
    "max_replicas": 2,
    "monitoring": {"webhook": "https://example.com"},
    "tensorboard_port": 7000,
}
"""A value for each of them."""
NEVER = {"platform=local", "platform=cluster", "gcp.accelerator.provisioning=queued"}
"""Values that a plan on Google Cloud does not have; machines that are queued are a pool's by itself."""


@pytest.mark.parametrize("name", WITH)
def test_a_setting_of_another_platform_is_refused_in_words_or_changes_nothing(name):
    def told(**top):
        return sorted((token, each, plain(own)) for token, each, own in planned(config_of({}, **top)))

    assert {each.partition(".")[0] for each in ELSEWHERE} == set(WITH)
    if name in ("cluster", "tensorboard_port"):
        assert told(**{name: WITH[name]}) == told()
    else:
        with pytest.raises(Refused, match="setting"):
            told(**{name: WITH[name]})


def settable(schema, definitions, at=""):
    """The places of a schema of settings, and the values of those that have few."""
    for name, found in schema.get("properties", {}).items():
        place = f"{at}{name}"
        if place in ELSEWHERE:
            continue
        yield place
        for each in found.get("anyOf", [found]):
            own = definitions[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
            values = [own["const"]] if "const" in own else own.get("enum", own.get("items", {}).get("enum", ()))
            yield from (f"{place}={value}" for value in values)
            yield from (f"{place}={value}" for value in (True, False) if own.get("type") == "boolean")
            yield from settable(own, definitions, f"{place}.")


def reached(value, at=""):
    """The places at which a stack's settings have something, with what it is."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield f"{at}{name}"
            yield from reached(each, f"{at}{name}.")
    for each in value if isinstance(value, list) else [value]:
        yield f"{at.removesuffix('.')}={each}"


def everything():
    """Every place in the settings of a stack on Google Cloud, and every value where there are few."""
    schema = Settings.model_json_schema()
    return set(settable(schema, schema["$defs"])) - NEVER


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Where the keys lie that a stack names."""
    folder = tmp_path_factory.mktemp("keys")
    for name in KEYS.values():
        (folder / name).write_text(name.upper())
    return folder


def test_no_right_file_leads_to_a_plan_with_a_wildcard_role_a_public_bucket_or_a_public_node(schemas, keys):
    """And each setting is reached by a plan, each value of those that have few; no plan has a wrong field or value."""
    seen, found = set(), set()

    # The same files each time, as each setting has to be among them.
    @settings(max_examples=600, deadline=None, derandomize=True)
    @given(drawn.whole())
    def each(own):
        config = drawn.config({"platform": "gcp", **own})
        resources = planned(config, keys)
        assert len(resources) > 15
        assert list(faults(resources, schemas, seen, config)) == []
        chosen = Environment(**json.loads(config["penstock:gcp"]))
        priced = prices.rows(chosen, chosen.run_hours, prices.table())
        assert undecided((token for token, *_ in resources), priced) == set(), "each costs nothing or has a row"
        found.update(reached({"platform": "gcp", **own}))

    each()
    for kind in accelerators.TRAINABLE:
        shape = {"topology": "2x2" if kind in ("tpu-v5e", "tpu-v6e") else "2x2x1"} if kind in accelerators.TPUS else {}
        count = {"count": min(accelerators.GPUS[kind].machines)} if kind in accelerators.GPUS else {}
        shared = {"sharing": 4} if count == {"count": 1} else {}
        region = next(iter(accelerators.ZONES[kind]))
        place = {"region": region, "zones": accelerators.offering(kind, region)}
        own = {**place, "accelerator": {"type": kind, **shape, **count, **shared}}
        config = config_of(own)
        assert list(faults(planned(config), schemas, seen, config)) == []
        found.update(reached({"gcp": own}))
    assert everything() - found == set()


inside = st.dictionaries(st.sampled_from([*Environment.model_fields, "nonsense"]), WRONG, max_size=2)
# A problem may be called as it likes, also as everybody is.
beside = st.dictionaries(
    st.sampled_from([*sorted({*Settings.model_fields} - {"problem"}), "nonsense"]), WRONG, max_size=2
)
deep = st.dictionaries(st.sampled_from([*Accelerator.model_fields, *Budget.model_fields, *Stages.model_fields]), WRONG)


def test_a_file_with_faults_is_planned_as_safely_or_refused_in_words(schemas, keys):
    """Never a traceback: what is wrong is told, and where it is harmless, the plan is as good as any."""
    seen, refused = set(), []

    @settings(max_examples=900, deadline=None)
    @given(drawn.whole(), inside, beside, st.sampled_from(["accelerator", "budget", "stages"]), deep)
    def each(right, wrong, others, where, within):
        own = {**right["gcp"], **wrong}
        if where == "stages":
            own["budget"] = {**BUDGET, "stages": within}
        elif isinstance(own.get(where), dict):
            own[where] = {**own[where], **within}
        config = drawn.config({"platform": "gcp", **right, "gcp": own, **others})
        try:
            assert list(faults(planned(config, keys), schemas, seen, config)) == []
        except Refused as exc:
            refused.append(str(exc))

    each()
    assert len(refused) > 450
    words = ("setting", "strategy", "the key ")
    assert [told for told in refused if not any(word in told for word in words)] == []


@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(own=drawn.whole())
def test_pulumi_s_own_runtime_plans_what_is_planned_without_it(own, keys):
    config = drawn.config({"platform": "gcp", **own})

    def told(run):
        # Of a parent's own parents Pulumi's mocks know one; the engine's tests compare such names.
        made = [(token, name, {**own, "urn": ""}) for token, name, own in planned(config, keys, run)]
        return sorted((token, name, plain(own)) for token, name, own in made)

    assert told(by_pulumi) == told(eager.run)


def pools():
    """Every accelerator that there is, whole or cut, in every way to get its machines."""
    for way in ("spot", "on-demand", "flex-start", "queued", "reservation"):
        common = {"provisioning": way, "reservation": "mine" if way == "reservation" else None}
        for kind, gpu in accelerators.GPUS.items():
            for count in gpu.machines:
                for mig in (None, *gpu.mig):
                    yield Accelerator.model_validate({"type": kind, "count": count, "mig": mig, "sharing": 2, **common})
        for kind, tpu in accelerators.TPUS.items():
            for topology in tpu.topologies:
                yield Accelerator.model_validate({"type": kind, "topology": topology, **common})


def test_each_accelerator_in_each_way_is_a_private_pool_without_a_field_that_google_does_not_have(schemas):
    recorded, every = Recorded(), list(pools())
    place: PoolArgs = {
        "cluster": "dev",
        "location": "us-central1-a",
        "zones": ["us-central1-a"],
        "node_service_account": "a@b.example",
        "labels": {"environment": "dev", "owner": "me", "model": "flights", "run": "shared"},
    }
    eager.run(recorded, lambda: [AcceleratorPool(f"pool-{n}", place, each) for n, each in enumerate(every)])
    assert sum(token.endswith(":NodePool") for token, *_ in recorded.resources) == len(every) > 400
    assert list(faults(recorded.resources, schemas, set(), config_of({}))) == []


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
    with pytest.raises(Refused, match=told):
        planned(config_of({}, **{"raw": [], **files}), tmp_path)


def test_with_ones_own_key_all_that_keeps_data_is_encrypted_by_it_and_may_be(tmp_path):
    key = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    everything = {"study_database": True, "notebook": True, "beam": "dataflow", "budget": BUDGET}
    fields = {**everything, "accelerator": {"type": "nvidia-l4"}, "encryption_key": key}
    (tmp_path / "verifying.pem").write_text("what the server verifies by")
    resources = planned(config_of(fields, verify_key="verifying.pem"), tmp_path)
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


@pytest.mark.parametrize("endpoint", ["cloud-run", "gke"])
def test_an_image_that_another_stack_has_pushed_may_be_pulled_by_all_that_run_it_and_ones_own_needs_no_leave(endpoint):
    def pulled(image):
        images = {"trainer_image": image, "server_image": image, "beam": "dataflow", "min_replicas": 1}
        resources = planned(config_of({**images, "endpoint": endpoint}))
        grants = [own for token, _, own in resources if token.endswith(":RepositoryIamMember")]
        return [own for own in grants if own.get("project") == "acme-build"], grants

    elsewhere, _ = pulled("europe-west4-docker.pkg.dev/acme-build/penstock-dev/trainer@sha256:" + "a" * 64)
    assert {(own["location"], own["repository"]) for own in elsewhere} == {("europe-west4", "penstock-dev")}
    members = {own["member"].partition("@")[0] for own in elsewhere}
    readers = {"serviceAccount:penstock-dev-nodes", "serviceAccount:penstock-dev-beam"}
    assert members == (readers if endpoint == "gke" else {*readers, "serviceAccount:penstock-dev-run"})
    none, own = pulled("us-central1-docker.pkg.dev/acme-dev/penstock-dev/trainer@sha256:" + "a" * 64)
    assert none == []
    assert len(own) == 3, "nodes, server and beam"


def test_with_a_certificate_an_endpoint_on_gke_is_https():
    served = {"endpoint": "gke", "min_replicas": 1, "endpoint_host": "late.example.com", "endpoint_certificate": "late"}
    (gateway,) = (own for token, _, own in planned(config_of(served)) if token.endswith(":Gateway"))
    (listener,) = gateway["spec"]["listeners"]
    assert (listener["protocol"], listener["port"]) == ("HTTPS", 443)
    assert listener["tls"]["options"] == {"networking.gke.io/pre-shared-certs": "late"}


def test_raw_files_in_a_bucket_are_named_as_they_are():
    resources = planned(config_of({}, raw=["gs://acme/late/*.csv"]))
    made = json.dumps([each for token, _, each in resources if "JobSet" in token])
    assert "gs://acme/late/*.csv" in made


@pytest.mark.parametrize("endpoint", ["cloud-run", "gke"])
def test_keys_of_this_machine_reach_those_who_sign_and_verify_and_nobody_else(endpoint, tmp_path):
    (tmp_path / "signing.pem").write_text("PRIVATE")
    (tmp_path / "verifying.pem").write_text("PUBLIC")
    resources = planned(config_of({"endpoint": endpoint, "min_replicas": 1}, **KEYS), tmp_path)
    made = {name: inputs for _, name, inputs in resources}
    holding = {name for name, inputs in made.items() if "PRIVATE" in json.dumps(inputs, default=str)}
    assert holding == {"flow-train-model-keys"}
    secret = made["flow-train-model-keys"]["metadata"]
    assert secret["namespace"] == "penstock"
    mounting = {name for name, inputs in made.items() if f'"{secret["name"]}"' in json.dumps(inputs, default=str)}
    # The last of them makes a job anew that has failed.
    assert mounting == {"flow-train-model-keys", "flow-train-model", "flow-train-model-result"}
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
        # A secret comes wrapped or not, by what Pulumi's test runtime was told before.
        assert version["secretDataWo"] == "PUBLIC" or version["secretDataWo"]["value"] == "PUBLIC"
        grant = made["flow-serve-server-key-server"]
        assert grant["role"] == "roles/secretmanager.secretAccessor"
        assert grant["member"] == "serviceAccount:penstock-dev-server@acme-dev.iam.gserviceaccount.com"
    arguments = server["containers"][0]["args"]
    assert arguments[arguments.index("--verify-key") :][:2] == ["--verify-key", "/keys/verifying.pem"]


def test_a_replica_on_gke_goes_after_the_pause_that_is_set_and_cloud_run_takes_none():
    def served(**fields):
        return planned(config_of(fields, idle_seconds=20))

    made = {name: inputs for _, name, inputs in served(endpoint="gke", min_replicas=1)}
    behavior = made["flow-serve-server-scaling"]["spec"]["behavior"]
    assert behavior == {"scaleDown": {"stabilizationWindowSeconds": 20}}
    with pytest.raises(Refused, match=r"'idle_seconds' is 20, and Cloud Run decides by itself"):
        served()


def test_a_job_on_dataflow_bears_its_run_as_pods_do_and_another_run_another():
    def runs(raw):
        resources = planned(config_of({"beam": "dataflow"}, raw=raw))
        made = {name: own for token, name, own in resources if token.endswith(":JobSet")}
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
    resources = planned(config_of({"accelerator": accelerator}))
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
