"""The stand-in under the real engine: what exists, what is left half-way, what a second run does."""

import os
import signal
import textwrap
import time

import loopback
from standin import drift

from penstock.gcp import pins, verdict

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

    # What has disks and drivers, by the modules themselves, and by hand.
    from penstock.gcp import Accelerator, AcceleratorPool, Notebook
    KEY = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    PLACE = {"network": "n", "subnetwork": "s", "zone": "us-central1-a", "service_account_email": "a@b.example"}
    Notebook("pinned-lab", {**PLACE, "encryption_key": KEY})
    AcceleratorPool("pinned-gpu", {"cluster": "dev", "location": "us-central1-a", "zones": ["us-central1-a"],
                                   "node_service_account": "a@b.example"}, Accelerator(type="nvidia-l4"))
    gcp.workbench.Instance("loose-lab-instance", name="loose-lab", location="us-central1-a", gce_setup={
        "network_interfaces": [{"network": "n", "subnet": "s"}],
        "data_disks": {"disk_encryption": "CMEK", "kms_key": KEY}})
    driver = {"gpu_driver_installation_config": {"gpu_driver_version": "DEFAULT"}}
    gpus = node_config("g2-standard-8", "a@b.example", {}, None,
                       guest_accelerators=[{"type": "nvidia-l4", "count": 1, **driver}])
    gcp.container.NodePool("loose-gpu-pool", name="loose-gpu", cluster="dev", location="us-central1-a",
                           node_config=gpus, opts=pulumi.ResourceOptions(ignore_changes=pins.POOL_DRIFT))
"""


def test_what_the_cloud_changes_by_itself_would_be_a_change_were_it_not_pinned(stack):
    pinned = {
        "gcp:container/cluster:Cluster": pins.CLUSTER_DRIFT,
        "gcp:container/nodePool:NodePool": [*pins.POOL_DRIFT, *pins.DRIVER_DRIFT],
        "gcp:sql/databaseInstance:DatabaseInstance": pins.DATABASE_DRIFT,
        "gcp:cloudrunv2/service:Service": pins.SERVICE_DRIFT,
        "gcp:workbench/instance:Instance": pins.NOTEBOOK_DRIFT,
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
        "loose-lab-instance",
        "loose-gpu-pool",
    }
    assert planned["gcp:container/cluster:Cluster loose-cluster"] in pins.REPLACING, "which would lose what runs on it"
    assert planned["gcp:container/nodePool:NodePool loose-pool"] in pins.REPLACING
    assert planned["gcp:workbench/instance:Instance loose-lab-instance"] in pins.REPLACING, "its data disk with it"
    assert planned["gcp:container/nodePool:NodePool loose-gpu-pool"] in pins.REPLACING, "for another driver alone"


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


BEGUN = """
    import pulumi
    from penstock import gcp
    from penstock.gcp import compute
    from penstock.local import engine

    engine.end_with_engine()  # as a platform does
    vpc = compute.Network("vpc", None, name="penstock-dev", auto_create_subnetworks=False)
    cluster = gcp.Cluster("penstock-dev", {
        "project": "acme-dev", "location": "us-central1-a", "network": vpc.self_link, "subnetwork": "nodes",
        "node_service_account": "nodes@acme-dev.iam.gserviceaccount.com", "protect": False,
        "labels": {"environment": "dev", "run": "shared", "owner": "me", "model": "flights"}})
    pulumi.export("name", cluster.name)
    pulumi.export("estimated_cost", {"usd_per_hour_peak": [0.1, 0.1], "usd_per_month_idle": [73, 73]})
"""
CLUSTER = "gcp:container/cluster:Cluster"


def test_a_cluster_that_was_made_while_its_up_was_killed_is_the_stack_s_and_down_names_what_is_in_the_way(
    make_environment,
):
    """By the tools: the next `up` asks for what was begun, and a `down` that fails tells what holds it up."""
    trial = make_environment("dev", project="acme-dev")
    (trial.folder / "stacks/__main__.py").write_text(textwrap.dedent(BEGUN))
    trial.around |= {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json", "GOOGLE_PROJECT": "acme-dev"}
    trial.cloud.script({"operation": "create", "type": "Cluster", "seconds": 2})
    process = trial.start("up", "--yes", "--skip-preview", "--stack", "dev")
    _wait(lambda: CLUSTER in [type_ for _, type_, _ in trial.cloud.calls("create")], process)
    process.kill()
    process.communicate()
    del trial.around["GOOGLE_PROJECT"]
    _wait(lambda: CLUSTER in [each["type"] for each in trial.cloud.existing().values()])

    said = trial.make("up")
    assert "the last run was killed while it worked on penstock-dev-gke" in said
    made = [id_ for _, type_, id_ in trial.cloud.calls("create") if type_ == CLUSTER]
    assert made == ["projects/acme-dev/locations/us-central1-a/Cluster/penstock-dev"], said
    (cluster,) = (each for each in trial.state() if each["type"] == CLUSTER)
    assert cluster["id"] == made[0]
    assert all("/acme-dev/" in id_ for id_ in trial.cloud.existing()), "the stack's project, whatever gcloud's is"

    with trial.cloud.resources() as resources:
        resources["k8s"] = {"type": "", "inputs": {"network": "penstock-dev"}, "outputs": {}}
    with loopback.serving() as google:
        google.listed["compute.firewalls.list"] = [{"name": "k8s-fw-1"}]
        said = trial.make("down", expected=1, **{verdict.EMULATOR: google.url})
    assert "is already being used by k8s" in said
    assert "gcloud compute firewall-rules delete k8s-fw-1 --quiet" in said
    assert said.strip().endswith("see above, then run `make down` again")


def _wait(done, process=None):
    deadline = time.monotonic() + 60
    while not done():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
