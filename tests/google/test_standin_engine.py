"""The stand-in under the real engine: what exists, what is left half-way, what a second run does."""

import os
import signal
import time

from standin import drift

from penstock.gcp import pins

PROGRAM = """
    import os, pulumi, pulumi_gcp as gcp
    bucket = gcp.storage.Bucket("store", name="acme", location=os.environ.get("PLACE", "US"), force_destroy=True)
    pulumi.export("url", bucket.url)
    pulumi.export("link", bucket.self_link)
"""


def test_deployed_twice_refreshed_lost_made_again_and_destroyed(stack):
    trial = stack(PROGRAM)
    assert trial.steps()["gcp:storage/bucket:Bucket store"] == "create"
    assert trial.cloud.existing() == {}, "a preview creates nothing"
    trial.up()
    assert trial.run("stack", "output", "url").strip().endswith("gs://acme")
    assert "unchanged" in trial.up()
    assert "replace" in trial.run("preview", "--stack", "dev", PLACE="EU"), "what cannot change in place"
    assert "unchanged" in trial.run("refresh", "--yes", "--skip-preview", "--stack", "dev")
    with trial.cloud.resources() as resources:
        resources.clear()
    trial.run("refresh", "--yes", "--skip-preview", "--stack", "dev")
    trial.up()
    assert len(trial.cloud.existing()) == 1
    trial.run("destroy", "--yes", "--skip-preview", "--stack", "dev")
    assert trial.cloud.existing() == {}
    assert [operation for operation, *_ in trial.cloud.calls()] == ["create", "create", "delete"]


DRIFTING = """
    import pulumi, pulumi_gcp as gcp
    from penstock.gcp import pins
    from penstock.gcp.node_config import node_config

    def made(name, pinned):
        def own(drift):
            return pulumi.ResourceOptions(ignore_changes=drift if pinned else [])

        gcp.container.Cluster(f"{name}-cluster", name=name, location="us-central1-a", opts=own(pins.CLUSTER_DRIFT))
        gcp.container.NodePool(f"{name}-pool", name=name, cluster="dev", location="us-central1-a",
                               node_config=node_config("e2-standard-2", "a@b.example", {}, None),
                               opts=own(pins.POOL_DRIFT))
        gcp.sql.DatabaseInstance(f"{name}-database", name=name, region="us-central1", database_version="POSTGRES_17",
                                 settings={"tier": "db-f1-micro"}, opts=own(pins.DATABASE_DRIFT))
        gcp.cloudrunv2.Service(f"{name}-service", name=name, location="us-central1", opts=own(pins.SERVICE_DRIFT),
                               template={"containers": [{"image": "i"}]})

    made("pinned", True)
    made("loose", False)
"""


def test_what_the_cloud_changes_by_itself_would_be_a_change_were_it_not_pinned(stack):
    pinned = {
        "gcp:container/cluster:Cluster": pins.CLUSTER_DRIFT,
        "gcp:container/nodePool:NodePool": pins.POOL_DRIFT,
        "gcp:sql/databaseInstance:DatabaseInstance": pins.DATABASE_DRIFT,
        "gcp:cloudrunv2/service:Service": pins.SERVICE_DRIFT,
    }
    for type_, fields in pinned.items():
        assert set(drift.VALUES[type_]) == set(fields), "each pin has its drift, so none can go unnoticed"
    trial = stack(DRIFTING)
    trial.up()
    assert drift.write(trial.cloud) == set(pinned)
    trial.run("refresh", "--yes", "--skip-preview", "--stack", "dev")
    planned = trial.steps()
    assert {each.partition(" ")[2] for each in planned} == {
        "loose-cluster",
        "loose-pool",
        "loose-database",
        "loose-service",
    }
    assert planned["gcp:container/cluster:Cluster loose-cluster"] in pins.REPLACING, "which would lose what runs on it"
    assert planned["gcp:container/nodePool:NodePool loose-pool"] in pins.REPLACING


def test_a_quota_error_is_told_and_what_then_failed_half_way_stays_in_the_state_and_is_not_made_twice(stack):
    trial = stack(PROGRAM)
    quota = "googleapi: Error 403: Quota 'BUCKETS' exceeded. Limit: 0.0 in region us-central1., quotaExceeded"
    trial.cloud.script({"operation": "create", "type": "Bucket", "error": quota})
    assert quota in trial.up(expected=1)
    assert trial.cloud.existing() == {}
    trial.cloud.script({"operation": "create", "type": "Bucket", "error": "timed out while waiting", "partial": True})
    assert "timed out while waiting" in trial.up(expected=1)
    before = len(trial.cloud.calls())
    trial.up()
    assert [operation for operation, *_ in trial.cloud.calls()[before:]] == ["update"]


def test_a_wrong_field_fails_in_preview(stack):
    trial = stack(PROGRAM.replace('location=os.environ.get("PLACE", "US")', 'location="US", storage_class="STANDRAD"'))
    assert "'STANDRAD' is not one of STANDARD" in trial.run("preview", "--stack", "dev", expected=1)


def test_a_name_that_is_taken_is_an_error_as_google_s(stack):
    trial = stack(PROGRAM)
    with trial.cloud.resources() as resources:
        resources["projects/stand-in/locations/US/Bucket/acme"] = {"type": "", "inputs": {}, "outputs": {}}
    assert "Error 409" in trial.up(expected=1)


def test_a_slow_creation_ends_on_ctrl_c(stack):
    trial = stack(PROGRAM)
    trial.cloud.script({"operation": "create", "type": "Bucket", "error": "late", "seconds": 120})
    begin = time.monotonic()
    process = trial.start("up", "--yes", "--skip-preview", "--stack", "dev")
    while not trial.cloud.calls("create"):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert time.monotonic() - begin < 60, said
