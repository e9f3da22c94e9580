"""What an environment costs: every machine that may be chosen, every resource that is made, by recorded prices."""

import datetime
import re
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from decided import undecided

from penstock.gcp import accelerators, prices
from penstock.gcp.environment import Accelerator, Environment
from penstock.pricing import Price, Row, estimate, told

INVENTORIES = Path(__file__).parent / "inventories"
STACKS = Path(__file__).resolve().parents[2] / "stacks"
IMAGE = "us-docker.pkg.dev/acme/penstock/trainer@sha256:" + "a" * 64
BASE = {"project": "acme-dev", "owner": "me", "trainer_image": IMAGE, "server_image": IMAGE}
UNPRICED = {"nvidia-b200", "tpu-ironwood"}
"""No public price of them is known that could be trusted: an estimate says that they are not counted."""


def environment(**fields):
    """One with these fields."""
    return Environment(**{**BASE, **fields})


def possible(kind):
    """Every pool that a module takes of a kind: each count of GPUs, each slice."""
    if kind in accelerators.TPUS:
        return [{"type": kind, "topology": topology} for topology in accelerators.TPUS[kind].topologies]
    return [{"type": kind, "count": count} for count in accelerators.GPUS[kind].machines]


@pytest.mark.parametrize("kind", accelerators.KINDS)
def test_every_accelerator_on_every_machine_has_a_price_or_is_told_to_have_none(kind):
    for fields in possible(kind):
        # By itself, as a program of one's own may have it; a stack's training takes one machine.
        accelerator = Accelerator.model_validate({**fields, "provisioning": "on-demand"})
        chosen = environment().model_copy(update={"accelerator": accelerator})
        cost, what = prices.cost(chosen), f"{kind} on {accelerator.shape.machine_type}"
        if kind in UNPRICED:
            assert cost["without_a_price"] == [what]
            assert f"not counted, no price known: {what}" in told(cost)
        else:
            assert cost["without_a_price"] == []
            free = {**prices.table(), **dict.fromkeys([kind, accelerator.shape.machine_type], Price(0, "hour", "", ""))}
            without = estimate(prices.rows(chosen, 1.0, free), "")
            assert without["usd_per_run"][1] < cost["usd_per_run"][1], f"{what} is counted"


@pytest.mark.parametrize(
    ("machine", "usd"),
    [
        ("e2-standard-4", 0.134012),
        ("n1-standard-16", 0.759996),
        ("n2-highmem-8", 0.524056),
        ("e2-highcpu-2", 0.049468),
        ("c4-standard-8", None),
        ("n2-custom-8", None),
        ("m3-ultramem-32", None),
    ],
)
def test_an_ordinary_machine_has_a_price_or_is_told_to_have_none(machine, usd):
    cost = prices.cost(environment(machine_type=machine, spot=False, max_nodes=1))
    if usd is None:
        assert cost["without_a_price"] == [f"node {machine}"]
    else:
        assert cost["without_a_price"] == []
        assert any(row.startswith(f"node {machine}: ") and f"{usd:.6f}".rstrip("0") in row for row in cost["rows"])
    own = prices.cost(environment(machine_type=machine, spot=False, max_nodes=1), own={machine: 3.0})
    assert own["without_a_price"] == []
    assert f"node {machine}: 0 idle, 1 peak, 1 h a run, 3 USD/hour" in own["rows"]


@pytest.mark.parametrize("name", ["dev", "staging", "prod"])
def test_every_resource_of_an_environment_is_free_or_told_by_a_row(name):
    chosen = Environment(**yaml.safe_load((STACKS / f"Pulumi.{name}.yaml").read_text())["config"]["penstock:gcp"])
    inventory = (INVENTORIES / f"{name}.txt").read_text()
    types = re.findall(r"^\d+ (\S+): ", inventory, re.MULTILINE)
    rows = prices.rows(chosen, 1.0, prices.table())
    assert undecided(types, rows) == set()
    assert undecided([*types, "gcp:redis/instance:Instance"], rows) == {"gcp:redis/instance:Instance"}
    printed = told(prices.cost(chosen))
    assert all(f"  {row.what}: " in printed for row in rows)


def test_every_recorded_price_has_a_date_and_a_source():
    recorded = prices.table()
    for name, price in recorded.items():
        assert datetime.date(2026, 11, 23) <= datetime.date.fromisoformat(price.recorded) <= datetime.date.today(), name
        assert price.unit in ("hour", "GiB-month", "GiB", "million"), name
        assert price.usd > 0, name
        assert 0 < price.low <= 1, name
        known = re.search(r"github\.com/[\w-]+/[\w-]+ .*\bat [0-9a-f]{8}\b|cloud\.google\.com/\S+pricing", price.source)
        assert known, f"{name}: nobody could look that up"
    # A column too few or too many is a row that says something else than it seems to.
    text = (files("penstock.gcp") / "prices.csv").read_text(encoding="utf-8")
    assert {line.count(",") for line in text.splitlines()} == {5}
    assert len(recorded) == len(text.splitlines()) - 1, "no name twice"


def test_each_recorded_price_is_paid_somewhere_and_ones_own_takes_its_place():
    everything = {"study_database": True, "notebook": True, "beam": "dataflow", "internet": True, "spot": False}
    chosen = [
        environment(**everything, machine_type="n2-standard-4"),
        environment(endpoint="gke", min_replicas=1),
        *(
            environment().model_copy(update={"accelerator": Accelerator.model_validate(fields)})
            for kind in accelerators.KINDS
            for fields in possible(kind)
        ),
    ]
    before = [prices.cost(each)["rows"] for each in chosen]
    for name, price in prices.table().items():
        after = [prices.cost(each, own={name: 2 * price.usd})["rows"] for each in chosen]
        assert before != after, f"nothing costs {name}"


def test_what_is_paid_once_by_the_month_and_by_the_hour_is_counted_as_such():
    per = {unit: Price(7.3, unit, "2026-11-29", "a page", 0.5) for unit in ("hour", "GiB-month", "GiB")}
    rows = [
        Row("machine", per["hour"], 1, 2, 3),
        Row("disk", per["GiB-month"], 10, 20, 30),
        Row("shuffle", per["GiB"], 0, 0, 4),
        Row("reads", per["GiB"]),
    ]
    found = estimate(rows, "a note")
    assert found["usd_per_hour_idle"] == [3.7, 7.4]
    assert found["usd_per_hour_peak"] == [7.4, 14.8]
    assert found["usd_per_run"] == pytest.approx([25.7, 51.4])
    assert found["rows"] == [
        "machine: 1 idle, 2 peak, 3 h a run, 3.65 to 7.3 USD/hour",
        "disk: 10 idle, 20 peak, 30 h a run, 3.65 to 7.3 USD/GiB-month",
        "shuffle: 0 idle, 0 peak, 4 a run, 3.65 to 7.3 USD/GiB",
        "reads: by use, not counted, 3.65 to 7.3 USD/GiB",
    ]
    assert told(found).splitlines()[-1] == "  a note"


def test_ones_own_price_takes_the_place_of_the_recorded_one():
    chosen = environment(spot=False, max_nodes=2, run_gib=0)
    listed, own = prices.cost(chosen), prices.cost(chosen, own={"e2-standard-4": 1.0, "pd-balanced-gib": 0})
    assert own["usd_per_run"] == [2.0, 2.0]
    assert listed["usd_per_run"][1] == pytest.approx(2 * (4 * 0.021811 + 16 * 0.002923 + 10 / 730), abs=1e-4)


def test_spot_machines_cost_at_most_what_the_ordinary_ones_do_that_stand_in_for_them():
    own = {"e2-standard-4": 1.0, "g2-standard-8": 5.0, "pd-balanced-gib": 0}
    spot, ordinary = (
        prices.cost(
            environment(
                max_nodes=2,
                run_gib=0,
                spot=way == "spot",
                accelerator={"type": "nvidia-l4", "max_nodes": 3, "provisioning": way},
            ),
            1.0,
            own,
        )
        for way in ("spot", "on-demand")
    )
    assert spot["usd_per_run"][1] == ordinary["usd_per_run"][1] == pytest.approx(2 * 1 + 3 * 5)
    assert spot["usd_per_run"][0] == pytest.approx(0.09 * (2 * 1 + 3 * 5))
    assert spot["usd_per_hour_peak"][1] == ordinary["usd_per_hour_peak"][1]


def test_every_node_s_disk_and_every_machine_of_a_slice_is_counted():
    slices = {"type": "tpu-v5e", "topology": "4x4", "max_nodes": 5, "provisioning": "on-demand"}
    chosen = environment(endpoint="gke", min_replicas=4, max_replicas=9, max_nodes=7)
    # By itself, as a program of one's own may have it; a stack's training takes one machine.
    chosen = chosen.model_copy(update={"accelerator": Accelerator.model_validate(slices)})
    assert chosen.accelerator is not None
    assert chosen.accelerator.nodes == 8, "slices of four machines come whole"
    rows = {row.what: row for row in prices.rows(chosen, 2.0, prices.table())}
    disks = rows["GiB of nodes' disks"]
    assert disks.idle == 100 * (1 + 2), "the system's node, and two that hold four servers"
    assert disks.peak == 100 * (3 + 3 + 7 + 8)
    assert disks.run == 100 * 2 * (7 + 8)
    assert rows["tpu-v5e on ct5lp-hightpu-4t"].peak == 8 * 4


def test_a_run_pays_for_its_workers_disks_for_its_shuffle_and_for_what_it_leaves():
    chosen = environment(beam="dataflow", max_beam_workers=4, run_gib=50)
    rows = {row.what: row for row in prices.rows(chosen, 2.0, prices.table())}
    assert (rows["Dataflow disk-gib"].peak, rows["Dataflow disk-gib"].run) == (4 * 25, 2 * 4 * 25)
    assert rows["Dataflow shuffle"].run == 50
    assert (rows["GiB in the bucket"].idle, rows["GiB in the bucket"].run) == (50, 2 * 50)


def test_an_estimate_says_whose_prices_it_takes():
    assert "list prices of us-central1, as" in prices.cost(environment())["note"]
    assert (
        "list prices of us-central1, not of europe-west4, as" in prices.cost(environment(region="europe-west4"))["note"]
    )
