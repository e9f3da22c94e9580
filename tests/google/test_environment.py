"""Settings of an environment: thousands of files, right and wrong; never a traceback, never something open to all."""

import json
import math
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from settings import Settings, SettingsError

from penstock.errors import PenstockError
from penstock.gcp import accelerators, pins, prices
from penstock.gcp.environment import Budget, Environment, Stages

IMAGE = "us-docker.pkg.dev/acme/penstock/trainer@sha256:" + "a" * 64
BASE = {"project": "acme-dev", "owner": "me", "trainer_image": IMAGE, "server_image": IMAGE}

BUDGET = {"usd_per_month": 100, "billing_account": "000000-000000-000000"}

texts = st.text(max_size=12) | st.sampled_from(["allUsers", "group:a@b.example", "us-central1", "nvidia-l4", "2x4"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2000) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
accelerator = st.fixed_dictionaries(
    {"type": st.sampled_from(accelerators.KINDS)},
    optional={
        "count": st.integers(0, 17),
        "topology": st.sampled_from([None, "1x1", "2x4", "4x4", "2x2x2", "3x3"]),
        "provisioning": st.sampled_from(["spot", "on-demand", "flex-start", "queued", "reservation"]),
        "sharing": st.integers(0, 50),
        "mig": st.sampled_from([None, "1g.5gb", "9g.1gb"]),
    },
)


def read(fields, **top):
    """The settings of a stack whose raw files are in a bucket, and whose strategy is that of its accelerator."""
    chosen = fields.get("accelerator")
    tpu = isinstance(chosen, dict) and chosen.get("type") in accelerators.TPUS
    top = {"raw": "gs://acme/*.csv", "strategy": "tpu" if tpu else "parameter-server", **top}
    config = {f"penstock:{key}": str(value) for key, value in top.items()}
    return Settings.from_config({"penstock:platform": "gcp", "penstock:gcp": json.dumps(fields), **config})


def judged(fields, **top):
    """The environment, or what is wrong with it."""
    try:
        return read(fields, **top).gcp, ""
    except SettingsError as exc:
        return None, str(exc)


@settings(max_examples=1500, deadline=None)
@given(st.dictionaries(st.sampled_from([*Environment.model_fields, "nonsense"]), values, max_size=5))
def test_whatever_is_written_is_taken_or_refused_in_words(fields):
    environment, told = judged({**BASE, **fields})
    if environment is None:
        assert "setting" in told
        return
    assert all(not caller.startswith("all") and "*" not in caller for caller in environment.callers)
    assert "@sha256:" in environment.server_image
    cost = prices.cost(environment, environment.run_hours, environment.prices)
    for low, high in (cost["usd_per_hour_idle"], cost["usd_per_hour_peak"], cost["usd_per_run"]):
        assert 0 <= low <= high


SINGLE = re.compile(r"[12]x[124]$|2x2x1")


@settings(max_examples=1000, deadline=None)
@given(accelerator)
def test_an_accelerator_is_possible_or_refused_with_what_is(fields):
    environment, told = judged({**BASE, "region": "us-central1", "accelerator": fields})
    if environment is None:
        assert "gcp" in told
        return
    assert environment.accelerator is not None
    own = environment.accelerator
    shape = accelerators.shape(own.type, own.count, own.topology)
    assert shape.nodes_per_slice == 1, "training is one process on a TPU"
    assert own.provisioning != "queued"
    assert own.count == 1 or own.sharing == 1
    assert own.topology is None or SINGLE.match(own.topology)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"callers": ["allUsers"]}, "'gcp.callers.0' is 'allUsers'"),
        ({"server_image": "us-docker.pkg.dev/acme/penstock/serving:latest"}, "'gcp.server_image' is"),
        ({"accelerator": {"type": "nvidia-l4", "count": 3}}, "no machine has 3 nvidia-l4; there are machines with 1"),
        ({"accelerator": {"type": "tpu-v5e", "topology": "3x3"}}, "tpu-v5e has no topology '3x3'; it has 1x1, 2x2"),
        ({"accelerator": {"type": "nvidia-l4", "mig": "1g.5gb"}}, "nvidia-l4 cannot be cut into '1g.5gb'"),
        ({"region": "europe-north1", "accelerator": {"type": "nvidia-l4"}}, "europe-north1 is not known to offer"),
        ({"accelerator": {"type": "nvidia-b200", "count": 8}}, "zone us-central1-a is not known to offer nvidia-b200"),
        ({"zones": ["us-central1-a", "us-central1-f"], "accelerator": {"type": "nvidia-l4"}}, "us-central1-f is not"),
        ({"accelerator": {"type": "tpu-v5p", "topology": "4x8x4"}}, "multiples of 4 from small to large, 6,144"),
        ({"zones": ["us-east1-b"]}, "zone us-east1-b is not in region us-central1"),
        ({"endpoint": "gke"}, "keeps at least one replica"),
        ({"budget": {**BUDGET, "endpoint_floor": 5}}, "budget.endpoint_floor (5) is more than max_replicas (4)"),
        ({"budget": {**BUDGET, "stages": {"warn": 0.9}}}, "these are [0.9, 0.8, 1.0]"),
        ({"budget": {**BUDGET, "stages": {"stop": 0.9}}}, "unknown setting 'gcp.budget.stages.stop'"),
        ({"endpoint": "gke", "min_replicas": 1, "internet": True}, "reached from within the network"),
        ({"endpoint_host": "a.example"}, "are for endpoint 'gke'"),
        ({"endpoint": "gke", "min_replicas": 1, "endpoint_certificate": "c"}, "endpoint_host says which"),
        ({"model": "sha256:" + "0" * 64}, "model and model_store belong together"),
        ({"encryption_key": "projects/p/locations/us/keyRings/r/cryptoKeys/k"}, "is in us; expected one in us-c"),
        ({"regoin": "us-east1"}, "unknown setting 'gcp.regoin'"),
        ({"accelerator": {"type": "nvidia-l4", "provisioning": "queued"}}, "so jobs would wait for ever"),
        ({"accelerator": {"type": "tpu-v5e", "topology": "4x4"}}, "one machine; expected 1x1 or 2x2 or 2x4"),
        (
            {"zones": ["us-central1-c"], "accelerator": {"type": "tpu-ironwood", "topology": "2x2x1"}},
            "expected tpu-v5e, tpu-v5p, tpu-v6e",
        ),
        ({"accelerator": {"type": "nvidia-l4", "count": 2, "sharing": 3}}, "sharing is 3 and accelerator.count 2: GKE"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_told_by_its_name(fields, told):
    with pytest.raises(SettingsError) as caught:
        read({**BASE, **fields})
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "top", "told"),
    [
        ({"accelerator": {"type": "tpu-v5e", "topology": "2x4"}}, {"strategy": "local"}, "a TPU takes the strategy"),
        ({"accelerator": {"type": "nvidia-l4"}}, {"strategy": "tpu"}, "'gcp.accelerator' is 'nvidia-l4'"),
        ({}, {"strategy": "tpu"}, "'gcp.accelerator' is not set"),
        ({"beam": "dataflow"}, {"raw": "[]"}, "raw is not set"),
        ({"beam": "dataflow"}, {"raw": "data/*.csv"}, "raw is 'data/*.csv'"),
        ({"beam": "dataflow"}, {"problem": "mine.py"}, "the problem is the file mine.py"),
        ({}, {"min_replicas": 1, "max_replicas": 9}, "it is `gcp.max_replicas`"),
        ({}, {"min_replicas": 2, "max_replicas": 2}, "it is `gcp.min_replicas`"),
        ({}, {"idle_seconds": 60}, "setting 'idle_seconds' is 60, and Cloud Run decides"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_the_environment_are_refused(fields, top, told):
    with pytest.raises(SettingsError) as caught:
        read({**BASE, **fields}, **top)
    assert told in str(caught.value)


def test_where_nothing_is_trained_neither_strategy_nor_raw_files_matter():
    served = {"model": "sha256:" + "0" * 64, "model_store": "elsewhere", "beam": "dataflow"}
    assert read({**BASE, **served}, raw="[]", strategy="tpu").promoted


def test_the_stages_that_the_page_shows_are_the_defaults():
    page = (Path(__file__).resolve().parents[2] / "docs/gcp.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```yaml\n(budget:.*?)```", page, re.DOTALL)
    environment = read({**BASE, **yaml.safe_load(snippet)}).gcp
    assert environment is not None
    assert environment.budget is not None
    plain = {"usd_per_month": 300, "billing_account": "000000-000000-000000"}
    assert environment.budget == Budget(**plain, notify=("data-science@example.com",))
    fewer = Budget(**plain, stages=Stages(stop_trials=None))
    assert fewer.stages.shares == {"warn": 0.5, "scale_to_zero": 1.0}, "null is never"


def test_the_page_says_how_many_files_are_read_and_how_many_are_planned():
    page = (Path(__file__).resolve().parents[2] / "docs/gcp.md").read_text(encoding="utf-8")
    read, planned = (
        [int(n) for n in re.findall(r"max_examples=(\d+)", (Path(__file__).parent / name).read_text())]
        for name in ("test_environment.py", "test_plans.py")
    )
    *planned, _twice = planned
    told = (
        f"{sum(read) + sum(planned):,} generated files of settings, right and wrong, are read, {sum(planned):,} of them"
    )
    assert told in page


def test_a_plan_that_replaces_what_holds_data_is_refused_until_it_is_named():
    plan = {
        "gcp:storage/bucket:Bucket store": "replace",
        "gcp:container/cluster:Cluster gke": "create-replacement",
        "gcp:container/nodePool:NodePool pool": "update",
        "gcp:compute/router:Router router": "replace",
        "gcp:compute/address:Address address": "replace",
        "kubernetes:apps/v1:Deployment served": "create-replacement",
        "kubernetes:gateway.networking.k8s.io/v1:Gateway way": "delete-replaced",
        "kubernetes:core/v1:Service service": "replace",
    }
    told = pins.refused(plan, ())
    assert [line.split(":")[0] for line in told] == [
        "the plan replaces the endpoint's address address",
        "the plan replaces the cluster gke",
        "the plan replaces the bucket store",
        "the plan replaces the endpoint served",
        "the plan replaces the endpoint's load balancer way",
    ]
    assert pins.refused(plan, ("address", "gke", "served", "store", "way")) == []


def test_every_machine_of_the_tables_has_a_shape():
    for kind, gpu in accelerators.GPUS.items():
        for count, machine in gpu.machines.items():
            assert accelerators.shape(kind, count).machine_type == machine
    for kind, tpu in accelerators.TPUS.items():
        for topology in tpu.topologies:
            shape = accelerators.shape(kind, topology=topology)
            assert shape.machine_type in tpu.machines.values()
    assert set(accelerators.ZONES) == set(accelerators.KINDS)
    with pytest.raises(PenstockError, match="accelerator 'tpu-v4' is not known"):
        accelerators.shape("tpu-v4")


# Of google/xpk's table of systems at 02b0c092: what nobody here wrote.
# Slices of 2x4, which are two machines there and one with eight chips here, are left out.
XPK = {
    "tpu-v5e": ("tpu-v5-lite-podslice", "ct5lp-hightpu-4t", "4x4 4x8 8x8 8x16 16x16"),
    "tpu-v5p": (
        "tpu-v5p-slice",
        "ct5p-hightpu-4t",
        "2x2x1 2x2x2 2x2x4 2x4x4 4x4x4 4x4x8 4x4x12 4x8x8 4x4x20 4x8x12 8x8x8 4x12x12 8x8x12 8x8x16 8x12x12 12x12x12 "
        "4x4x116 8x16x16 12x12x16 4x28x28 16x16x16 12x16x24 16x16x20 16x16x24",
    ),
    "tpu-v6e": ("tpu-v6e-slice", "ct6e-standard-4t", "2x2 4x4 4x8 8x8 8x16 16x16"),
    "tpu-ironwood": (
        "tpu7x",
        "tpu7x-standard-4t",
        "2x2x1 2x2x2 2x2x4 2x4x4 4x4x4 4x4x8 4x4x12 4x4x244 8x8x8 8x8x92 12x12x12 12x24x24 16x16x32 16x20x28 16x24x24",
    ),
}
"""By TPU its label, its machine, and slices of it."""


@pytest.mark.parametrize("kind", XPK)
def test_a_slice_that_others_take_from_google_is_one_here_on_the_same_machines_with_the_same_label(kind):
    label, machine, topologies = XPK[kind]
    for topology in topologies.split():
        shape = accelerators.shape(kind, topology=topology)
        assert (shape.machine_type, shape.chips_per_node) == (machine, 4)
        assert shape.nodes_per_slice * 4 == math.prod(map(int, topology.split("x")))
        assert accelerators.selectors(kind, topology)["cloud.google.com/gke-tpu-accelerator"] == label
    for wrong in ("4x4", "2x2x3", "4x4x6", "8x4x4", "0x4x4", "16x24x28", "4x4x4x4", "4x4xy", "04x4x4"):
        if wrong not in topologies.split():
            with pytest.raises(PenstockError, match=f"{kind} has no topology '{wrong}'"):
                accelerators.shape(kind, topology=wrong)


@pytest.mark.parametrize(("region", "zone"), [("us-central1", "a"), ("europe-west1", "b"), ("us-east1", "b")])
def test_a_stack_is_in_a_zone_that_its_region_has(region, zone):
    environment = read({**BASE, "region": region}).gcp
    assert environment is not None
    assert environment.places == (f"{region}-{zone}",)
