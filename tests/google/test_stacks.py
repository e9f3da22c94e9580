"""The project's own Google Cloud stacks on the real engine."""

import os
from collections import defaultdict
from pathlib import Path

import control_plane
import pytest
from standin import drift

INVENTORIES = Path(__file__).parent / "inventories"
REGENERATE = "PENSTOCK_INVENTORIES=write .venv/bin/python -m pytest -q tests/google/test_stacks.py -k inventory"


def inventory(steps):
    """What would exist: by type, how many and which."""
    names = defaultdict(list)
    for each, operation in steps.items():
        assert operation == "create", each
        token, _, name = each.partition(" ")
        names[token].append(name)
    head = f"{len(steps)} resources"
    rows = [f"{len(found)} {token}: {', '.join(sorted(found))}" for token, found in sorted(names.items())]
    return "\n".join([head, *rows, ""])


@pytest.mark.parametrize("name", ["dev", "staging", "prod"])
def test_the_inventory_of_an_environment_is_the_one_recorded_and_breaks_no_rule(name, make_environment, policed):
    found = inventory(make_environment(name).steps(*policed))
    file = INVENTORIES / f"{name}.txt"
    if os.environ.get("PENSTOCK_INVENTORIES") == "write":
        file.write_text(found)
    assert found == file.read_text(), f"if this is what is wanted: {REGENERATE}"


@pytest.mark.parametrize("name", ["dev", "staging", "prod"])
def test_an_environment_s_settings_are_a_screen_long(name):
    lines = (Path(__file__).resolve().parents[2] / f"stacks/Pulumi.{name}.yaml").read_text().splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 200, "an image's digest is the longest"


def beam_of_the_job(deployed):
    """Beam's options in the command with which the stack prepares its data."""
    (made,) = (each["inputs"] for each in deployed.state() if each["urn"].endswith("JobSet::flow-preprocess-dataset"))
    (job,) = made["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    command = container["args"]
    at = command.index("--runner")
    assert command[at : at + 3] == ["--runner", "dataflow", "--"]
    return command[at + 3 :]


def in_order(deletes):
    """What runs on a cluster goes before it, what lies in a network before that."""
    types = [type_ for _, type_, _ in deletes]
    on_cluster = [at for at, type_ in enumerate(types) if type_.startswith("kubernetes:")]
    assert on_cluster[-1] < types.index("gcp:container/cluster:Cluster")
    within = ["gcp:container/cluster:Cluster", "gcp:compute/subnetwork:Subnetwork", "gcp:compute/routerNat:RouterNat"]
    if (database := "gcp:sql/databaseInstance:DatabaseInstance") in types:
        assert types.index(database) < types.index("gcp:servicenetworking/connection:Connection")
        within.append("gcp:servicenetworking/connection:Connection")
    assert max(types.index(each) for each in within) < types.index("gcp:compute/network:Network")


def test_the_trial_ground_is_deployed_as_its_file_stands_refreshed_and_destroyed(make_environment, policed):
    """Dev: a notebook, everything from zero, and nothing that a `destroy` would have to be asked for twice."""
    dev = make_environment("dev")
    with control_plane.serving(dev.cloud, dev.folder) as plane:
        dev.up(*policed, **plane.around)
        assert {"gcp:workbench/instance:Instance", "gcp:cloudrunv2/service:Service"} <= {
            type_ for _, type_, _ in dev.cloud.calls("create")
        }
        dev.run("refresh", "--yes", "--skip-preview", "--stack", "dev", **plane.around)
        assert dev.steps(**plane.around) == {}
        dev.run("destroy", "--yes", "--skip-preview", "--stack", "dev", **plane.around)
    assert dev.cloud.existing() == {}
    in_order(dev.cloud.calls("delete"))


def test_the_rehearsal_is_deployed_refreshed_though_all_has_drifted_and_destroyed(make_environment, policed):
    """Staging: GPUs, Dataflow, a study database. What the cloud changes by itself is nobody's change."""
    staging = make_environment("staging")
    with control_plane.serving(staging.cloud, staging.folder) as plane:
        staging.up(*policed, **plane.around)
        assert staging.outputs()["decision"]["promoted"]
        launched = [id_ for _, type_, id_ in staging.cloud.calls("create") if type_.endswith(":JobSet")]
        assert len(launched) == len(set(launched)) == 4
        own, told = beam_of_the_job(staging), staging.outputs()["beam_options"]
        (run,) = set(own) - set(told)
        assert told == [each.replace(run, "--labels=run=shared") for each in own], "a notebook runs what the stack runs"
        assert run.startswith("--labels=run="), "by which the bills are split, and a notebook's is no run of the stack"

        assert len(drift.write(staging.cloud)) == 4
        staging.run("refresh", "--yes", "--skip-preview", "--stack", "staging", **plane.around)
        assert staging.steps(**plane.around) == {}, "what is pinned or ignored is no change"
        staging.run("destroy", "--yes", "--skip-preview", "--stack", "staging", **plane.around)
    assert staging.cloud.existing() == {}
    in_order(staging.cloud.calls("delete"))


def test_nothing_is_deployed_to_another_project_than_the_stack_s_whatever_gcloud_is_set_to(make_environment):
    prod = make_environment("prod")
    prod.around.pop("GOOGLE_PROJECT")
    asked = ("preview", "--stack", "prod")
    told = prod.run(*asked, expected=1, CLOUDSDK_CORE_PROJECT="somewhere")
    assert "setting 'gcp.project' is 'penstock-prod-example', and the plugin of Google Cloud would deploy to" in told
    assert "'somewhere'" in told
    told = prod.run(*asked, expected=1)
    assert "has not been told a project and would take any it finds" in told
    assert "`pulumi config set gcp:project penstock-prod-example`" in told
    prod.run("config", "set", "gcp:project", "somewhere", "--stack", "prod")
    told = prod.up(expected=1, GOOGLE_PROJECT="penstock-prod-example")
    assert "would deploy to 'somewhere'" in told, "the configuration goes before what `make` says"
    assert prod.cloud.calls() == []
    prod.run("config", "set", "gcp:project", "penstock-prod-example", "--stack", "prod")
    assert "create" in prod.steps(GOOGLE_PROJECT="somewhere").values()
