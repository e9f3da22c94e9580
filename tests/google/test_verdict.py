import json

import google_stack
import loopback
import pytest
from common import ToolError

from penstock.errors import PenstockError
from penstock.gcp import sweep, verdict
from penstock.gcp.environment import Environment

IMAGE = "us-docker.pkg.dev/acme/penstock/trainer@sha256:" + "a" * 64


def environment(**fields):
    common = {"project": "acme-dev", "owner": "me", "trainer_image": IMAGE, "server_image": IMAGE}
    return Environment(**{**common, **fields})


@pytest.fixture
def google(monkeypatch):
    with loopback.serving() as google:
        monkeypatch.setenv(verdict.EMULATOR, google.url)
        yield google


def offers(google, env, quota, machines):
    google.got["serviceusage.services.list"] = {
        "services": [{"name": f"projects/1/services/{name}"} for name in verdict.needed_apis(env)]
    }
    google.got["compute.regions.get"] = {
        "quotas": [{"metric": "PREEMPTIBLE_NVIDIA_L4_GPUS", "limit": quota, "usage": 1.0}]
    }
    google.listed["compute.machineTypes.list"] = [{"name": name} for name in machines]


def test_a_quota_that_is_too_small_is_told_with_what_is_needed(google):
    env = environment(accelerator={"type": "nvidia-l4", "max_nodes": 8})
    offers(google, env, 4.0, ["e2-standard-4", "g2-standard-8"])
    assert verdict.problems(env) == ["needs 8 PREEMPTIBLE_NVIDIA_L4_GPUS in us-central1, quota 4, 1 of it in use"]
    offers(google, env, 9.0, ["e2-standard-4", "g2-standard-8"])
    assert verdict.problems(env) == []


def test_a_machine_that_the_zone_does_not_offer_and_an_interface_that_is_off_are_told(google):
    env = environment(accelerator={"type": "nvidia-l4"}, beam="dataflow", zones=("us-central1-b",))
    offers(google, env, 100.0, ["e2-standard-4"])
    google.got["serviceusage.services.list"]["services"] = [
        each for each in google.got["serviceusage.services.list"]["services"] if "dataflow" not in each["name"]
    ]
    told = verdict.problems(env)
    assert told == [
        "not enabled: dataflow.googleapis.com; `gcloud services enable dataflow.googleapis.com`",
        "us-central1-b does not offer g2-standard-8",
    ]


def test_without_a_sign_in_the_way_to_one_is_told(monkeypatch):
    monkeypatch.delenv(verdict.EMULATOR, raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    with pytest.raises(PenstockError, match="gcloud auth application-default login"):
        verdict.problems(environment())


def test_what_kubernetes_left_is_listed_with_the_way_to_remove_it(google):
    google.listed["compute.firewalls.list"] = [{"name": "k8s-fw-1"}]
    google.listed["compute.networkEndpointGroups.list"] = [{"name": "k8s1-neg"}]
    google.listed["compute.disks.list"] = [{"name": "pvc-1"}]
    found = sweep.left("acme-dev", "us-central1", ("us-central1-a",), "penstock-dev")
    told = sweep.receipt(found)
    assert told.startswith("3 left")
    assert "gcloud compute disks delete pvc-1 --zone=us-central1-a" in told
    assert {each.kind for each in found} == {"firewall rule", "network endpoint group", "disk"}
    google.listed.clear()
    assert sweep.receipt(sweep.left("acme-dev", "us-central1", ("us-central1-a",), "penstock-dev")) == "nothing left"


LEFT = {
    "compute.firewalls.list": ("firewall rule", "k8s-fw-1", "gcloud compute firewall-rules delete k8s-fw-1 --quiet"),
    "compute.networkEndpointGroups.list": (
        "network endpoint group",
        "k8s1-neg",
        "gcloud compute network-endpoint-groups delete k8s1-neg --zone=us-central1-a",
    ),
    "compute.disks.list": ("disk", "pvc-1", "gcloud compute disks delete pvc-1 --zone=us-central1-a"),
    "compute.instances.list": ("machine", "gke-1", "gcloud compute instances delete gke-1 --zone=us-central1-a"),
    "compute.forwardingRules.list": (
        "load balancer",
        "k8s-lb",
        "gcloud compute forwarding-rules delete k8s-lb --region=us-central1",
    ),
}


@pytest.mark.parametrize("method", LEFT)
def test_each_thing_left_behind_is_found_though_the_cluster_is_gone(google, method):
    kind, name, removal = LEFT[method]
    google.listed[method] = [{"name": name}]
    (found,) = sweep.left("acme-dev", "us-central1", ("us-central1-a",), "penstock-dev")
    assert (found.kind, found.name, found.removal) == (kind, name, removal)
    assert removal in sweep.receipt([found])
    # Nothing but Compute Engine is asked, and each question for this environment's things alone.
    assert {call.partition(".")[0] for call in google.calls} == {"compute"}
    assert set(google.calls) == set(LEFT)
    assert all("penstock-dev" in asked["filter"] for asked in google.asked)


def test_a_plan_is_refused_before_anything_is_deployed(google):
    env = environment()
    offers(google, env, 0.0, ["e2-standard-4"])
    step = {"urn": "urn:pulumi:dev::penstock::a$gcp:storage/bucket:Bucket::store", "op": "replace"}
    preview = json.dumps({"steps": [step]})
    with pytest.raises(ToolError, match="replaces the bucket store"):
        google_stack.before_up(env, lambda *arguments: preview)
    google_stack.before_up(env.model_copy(update={"approve_replacement": ("store",)}), lambda *arguments: preview)
    offers(google, env, 0.0, [])
    with pytest.raises(ToolError, match="us-central1-a does not offer e2-standard-4"):
        google_stack.before_up(env, lambda *arguments: preview)


def test_after_a_destroy_a_person_is_told_what_is_left(google, capsys):
    google.listed["compute.disks.list"] = [{"name": "pvc-1"}]
    google_stack.after_down("dev", environment())
    assert "1 left" in capsys.readouterr().err
