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

from penstock import Pipeline, PipelineArgs
from penstock.gcp.platform import GcpPlatform

IMAGE = "us-docker.pkg.dev/acme/penstock/trainer@sha256:" + "a" * 64
BASE = {"project": "acme-dev", "owner": "me", "trainer_image": IMAGE, "server_image": IMAGE}
PUBLIC = ("allUsers", "allAuthenticatedUsers", "0.0.0.0/0", "::/0")
BUDGET = {"usd_per_month": 100, "billing_account": "000000-000000-000000"}
WRONG = st.sampled_from([None, -1, 0, "", "allUsers", "*", [], {}, "latest", 10**12, True, 1.5])

right = st.fixed_dictionaries(
    {},
    optional={
        "region": st.sampled_from(["us-central1", "europe-west4"]),
        "zones": st.just([]),
        "machine_type": st.sampled_from(["e2-standard-4", "n2-standard-8"]),
        "max_nodes": st.integers(1, 40),
        "spot": st.booleans(),
        "accelerator": st.fixed_dictionaries(
            {"type": st.sampled_from(["nvidia-l4", "tpu-v6e", "nvidia-tesla-a100", "tpu-v5e"])},
            optional={
                "topology": st.sampled_from(["2x4", "4x4"]),
                "provisioning": st.sampled_from(["spot", "on-demand", "flex-start", "queued"]),
                "sharing": st.integers(1, 4),
            },
        ),
        "beam": st.sampled_from(["in-process", "dataflow"]),
        "endpoint": st.sampled_from(["cloud-run", "gke"]),
        "min_replicas": st.integers(0, 3),
        "max_replicas": st.integers(1, 9),
        "callers": st.lists(st.sampled_from(["group:a@b.example", "user:c@b.example"]), unique=True),
        "internet": st.booleans(),
        "budget": st.just(BUDGET)
        | st.fixed_dictionaries({k: st.just(v) for k, v in BUDGET.items()}, optional={"endpoint_floor": st.just(0)}),
        "study_database": st.booleans(),
        "notebook": st.booleans(),
        "protect": st.booleans(),
        "model": st.just("sha256:" + "0" * 64),
        "model_store": st.just("elsewhere"),
    },
)
spoiled = st.dictionaries(st.sampled_from(sorted([*Settings.model_fields, "nonsense"])), WRONG, max_size=2)
inside = st.dictionaries(
    st.sampled_from(["callers", "server_image", "region", "project", "zones", "x"]), WRONG, max_size=1
)


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
        raise AssertionError(args.token)


def planned(chosen):
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
        platform = GcpPlatform("dev", chosen.gcp, "flights")
        platform.estimated_cost()
        if chosen.promoted:
            opts = pulumi.ResourceOptions()
            platform.storage("flow-store", (), opts)
            platform.promoted("flow-model", opts)
        else:
            Pipeline("flow", PipelineArgs(platform=platform, problem="flights"))

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
    config = {"penstock:platform": "gcp", "penstock:gcp": json.dumps({**BASE, **fields, **wrong})}
    config |= {
        f"penstock:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in others.items()
    }
    taken, told = read(config)
    assert (taken is None) == bool(told)
    assert taken is None or taken.gcp is None or not set(PUBLIC) & set(taken.gcp.callers)


# The SDK warns of functions of its own that it has given up, when it is imported.
@pytest.mark.filterwarnings("ignore:gcp:DeprecationWarning")
@settings(max_examples=100, deadline=None)
@given(right)
def test_no_plan_has_a_wildcard_role_a_public_bucket_or_a_public_node(fields):
    config = {"penstock:platform": "gcp", "penstock:gcp": json.dumps({**BASE, **fields})}
    chosen, _ = read(config)
    if chosen is None:
        return
    resources = planned(chosen)
    assert len(resources) > 15
    assert [name for name, open_ in judged(resources) if open_] == []


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
