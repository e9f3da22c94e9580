import json
from types import SimpleNamespace

import discovery
import google_stack
import loopback
import plan
import pytest
from common import ToolError
from events import Events
from settings import Settings

from penstock.errors import PenstockError
from penstock.gcp import accelerators, prices, sweep, verdict
from penstock.gcp.dashboard import CloudRun, OnCluster, page
from penstock.gcp.environment import Environment

SMALL = ["e2-standard-2", "e2-standard-4"]
PLENTY = dict.fromkeys(("CPUS", "PREEMPTIBLE_CPUS", "SSD_TOTAL_GB", "NVIDIA_L4_GPUS"), 10_000)
NEWER = "not compared with a quota, as Compute Engine lists none of that name in us-central1: "
IMAGE = "us-docker.pkg.dev/acme/penstock/trainer@sha256:" + "a" * 64


def environment(**fields):
    common = {"project": "acme-dev", "owner": "me", "trainer_image": IMAGE, "server_image": IMAGE}
    return Environment(**{**common, **fields})


@pytest.fixture
def google(monkeypatch):
    with loopback.serving() as google:
        monkeypatch.setenv(verdict.EMULATOR, google.url)
        yield google


def offers(google, env, quota, machines, **further):
    google.got["serviceusage.services.list"] = {
        "services": [{"name": f"projects/1/services/{name}"} for name in verdict.needed_apis(env)]
    }
    google.got["compute.regions.get"] = {
        "quotas": [{"metric": "PREEMPTIBLE_NVIDIA_L4_GPUS", "limit": quota, "usage": 1.0}]
        + [{"metric": metric, "limit": limit, "usage": 0.0} for metric, limit in {**PLENTY, **further}.items()]
    }
    # Google lists this one with the project, and not with its regions.
    everywhere = further.get(verdict.ALL_GPUS, 10_000)
    google.got["compute.projects.get"] = {"quotas": [{"metric": verdict.ALL_GPUS, "limit": everywhere, "usage": 0}]}
    google.listed["compute.zones.list"] = [{"name": f"us-central1-{letter}"} for letter in "abcf"]
    google.listed["compute.machineTypes.list"] = [{"name": name} for name in machines]
    google.listed["compute.acceleratorTypes.list"] = [{"name": name} for name in ("nvidia-l4", "nvidia-h100-80gb")]


def test_a_quota_that_is_too_small_is_told_with_what_is_needed(google):
    env = environment(accelerator={"type": "nvidia-l4", "max_nodes": 8})
    offers(google, env, 4.0, [*SMALL, "g2-standard-8"])
    assert verdict.problems(env) == ["needs 8 PREEMPTIBLE_NVIDIA_L4_GPUS in us-central1, quota 4, 1 of it in use"]
    offers(google, env, 9.0, [*SMALL, "g2-standard-8"])
    assert verdict.problems(env) == []


def test_processors_and_disks_are_counted_as_machines_are(google):
    env = environment(max_nodes=6, spot=False, notebook=True, endpoint="gke", min_replicas=1, max_replicas=6)
    assert verdict.needed_quotas(env) == verdict.Quotas({"CPUS": 3 * 2 + 6 * 4 + 4 + 2 * 4, "SSD_TOTAL_GB": 1100}, {})
    offers(google, env, 0.0, SMALL, CPUS=41, SSD_TOTAL_GB=500)
    assert verdict.problems(env) == [
        "needs 42 CPUS in us-central1, quota 41",
        "needs 1100 SSD_TOTAL_GB in us-central1, quota 500",
    ]
    larger = environment(machine_type="n2-standard-8", max_nodes=2, spot=False)
    assert verdict.needed_quotas(larger).needed["N2_CPUS"] == 16


def test_what_stands_in_for_spot_machines_is_told_and_refuses_nothing(google):
    env = environment(machine_type="n2-standard-8", max_nodes=2, accelerator={"type": "nvidia-l4", "max_nodes": 3})
    machines = [*SMALL, "n2-standard-8", "g2-standard-8"]
    offers(google, env, 9.0, machines, PREEMPTIBLE_CPUS=16, N2_CPUS=8, NVIDIA_L4_GPUS=2, GPUS_ALL_REGIONS=1)
    short, remarks = verdict.verdict(env)
    assert short == []
    assert remarks[:-1] == [
        "where there is no Spot machine: needs 16 N2_CPUS in us-central1, quota 8",
        "where there is no Spot machine: needs 3 NVIDIA_L4_GPUS in us-central1, quota 2",
        "where there is no Spot machine: needs 3 GPUS_ALL_REGIONS, quota 1",
    ]
    offers(google, env, 0.0, machines, PREEMPTIBLE_CPUS=0, N2_CPUS=8, NVIDIA_L4_GPUS=3, GPUS_ALL_REGIONS=1)
    short, remarks = verdict.verdict(env)
    assert short == [
        "needs 16 N2_CPUS in us-central1, quota 8",
        "needs 3 GPUS_ALL_REGIONS, quota 1",
    ], "without a quota of its own Spot takes the ordinary"
    assert remarks == [f"{NEWER}processors of g2-standard-8; look at IAM & Admin > Quotas in the console"]


def test_a_quota_that_compute_engine_does_not_list_is_said_not_to_be_asked_and_where_to_look(google):
    h100 = {"type": "nvidia-h100-80gb", "count": 8, "max_nodes": 2, "provisioning": "on-demand"}
    env = environment(accelerator=h100, machine_type="n4-standard-8")
    offers(google, env, 0.0, [*SMALL, "n4-standard-8", "a3-highgpu-8g"], GPUS_ALL_REGIONS=8)
    short, remarks = verdict.verdict(env)
    assert short == ["needs 16 GPUS_ALL_REGIONS, quota 8"]
    (told,) = remarks
    names = "NVIDIA_H100_GPUS, processors of n4-standard-8, processors of a3-highgpu-8g"
    assert told == f"{NEWER}{names}; look at IAM & Admin > Quotas in the console"
    plain = environment()
    offers(google, plain, 0.0, SMALL)
    google.calls.clear()
    assert verdict.verdict(plain) == ([], [])
    assert "compute.projects.get" not in google.calls, "without GPUs their quota is nothing to ask"


def test_the_workers_of_dataflow_are_counted_with_the_machines_of_the_cluster(google):
    env = environment(beam="dataflow", max_beam_workers=32, spot=False, max_nodes=1)
    offers(google, env, 0.0, SMALL, CPUS=41)
    assert verdict.problems(env) == ["needs 42 CPUS in us-central1, quota 41"], "3 of 2, 1 of 4, 32 of 1"
    served = environment(beam="dataflow", model="sha256:" + "0" * 64, model_store="elsewhere")
    assert verdict.needed_quotas(served).needed == {}, "where nothing is trained nothing is computed"


def test_slices_take_whole_machines_and_google_knows_every_quota_by_that_name():
    slices = {"type": "tpu-v5e", "topology": "4x4", "max_nodes": 5, "provisioning": "on-demand"}
    env = environment(accelerator=slices)
    assert verdict.needed_quotas(env).needed["TPU_LITE_PODSLICE_V5"] == 8 * 4
    known = set(discovery.document("compute", "v1")["schemas"]["Quota"]["properties"]["metric"]["enum"])
    families = [environment(machine_type=f"{family}-standard-8") for family in verdict.CPU_QUOTAS]
    asked = {metric for env in families for each in (verdict.needed_quotas(env),) for metric in each.needed}
    assert {*asked, *verdict.CPU_QUOTAS.values(), verdict.ALL_GPUS} <= known
    devices = {each.quota for each in (*accelerators.GPUS.values(), *accelerators.TPUS.values())}
    # These are Cloud Quotas' alone; of each of them it is said that it was not asked.
    newer = {"NVIDIA_H100_GPUS", "NVIDIA_H200_GPUS", "NVIDIA_B200_GPUS", "TPU_PODSLICE_V5P", "TPU_V6E", "TPU_7X"}
    assert devices - known == newer
    spot = {verdict.SPOT + each for each in devices}
    assert spot - known == {verdict.SPOT + each for each in newer - {"NVIDIA_H100_GPUS"}}


def test_a_machine_that_the_zone_does_not_offer_and_an_interface_that_is_off_are_told(google):
    env = environment(accelerator={"type": "nvidia-l4"}, beam="dataflow", zones=("us-central1-b",))
    offers(google, env, 100.0, SMALL)
    google.got["serviceusage.services.list"]["services"] = [
        each for each in google.got["serviceusage.services.list"]["services"] if "dataflow" not in each["name"]
    ]
    told = verdict.problems(env)
    assert told == [
        "not enabled: dataflow.googleapis.com; `gcloud services enable dataflow.googleapis.com`",
        "us-central1-b does not offer g2-standard-8",
    ]
    offers(google, env, 100.0, [*SMALL, "g2-standard-8"])
    google.listed["compute.acceleratorTypes.list"] = [{"name": "nvidia-tesla-t4"}]
    assert verdict.problems(env) == ["us-central1-b does not offer nvidia-l4"], "a machine says nothing of its GPU"


def test_a_zone_that_there_is_not_is_told_with_those_that_there_are(google):
    env = environment(zones=("us-central1-d",))
    offers(google, env, 0.0, SMALL)
    zones = ", ".join(f"us-central1-{letter}" for letter in "abcf")
    assert verdict.problems(env) == [f"there is no zone us-central1-d; in us-central1 there are {zones}"]


def test_what_is_in_use_refuses_nothing_where_it_may_be_the_environment_s_own(google):
    """Else a second `up` of a stack that is at work would be refused for what it has itself."""
    env = environment(max_nodes=6, spot=False)
    offers(google, env, 0.0, SMALL, CPUS=30)
    google.got["compute.regions.get"]["quotas"][1]["usage"] = 2.0
    told = "needs 30 CPUS in us-central1, quota 30, 2 of it in use"
    assert verdict.verdict(env) == ([told], [])
    assert verdict.verdict(env, running=True) == ([], [f"unless this environment itself has them: {told}"])
    larger = env.model_copy(update={"max_nodes": 7})
    assert verdict.verdict(larger, running=True) == (["needs 34 CPUS in us-central1, quota 30"], []), "nor would it fit"


@pytest.mark.parametrize("running", [False, True])
def test_before_an_up_the_state_says_whether_the_environment_is_there_already(google, running):
    env = environment(max_nodes=6, spot=False)
    offers(google, env, 0.0, SMALL, CPUS=30)
    google.got["compute.regions.get"]["quotas"][1]["usage"] = 2.0
    answers = {"stack": {"deployment": {"resources": [{"type": prices.CLUSTER}] * running}}, "preview": {"steps": []}}

    def captured(command, *arguments):
        return json.dumps(answers[command])

    if running:
        google_stack.before_up(env, captured)
        return
    with pytest.raises(ToolError, match="acme-dev cannot take it: needs 30 CPUS"):
        google_stack.before_up(env, captured)


def test_a_key_to_verify_models_by_takes_an_interface_on_cloud_run_and_none_on_gke(google):
    env = environment()
    offers(google, env, 0.0, SMALL)
    assert verdict.problems(env) == []
    ((told,), _) = verdict.verdict(env, keyed=True)
    assert told.startswith("not enabled: secretmanager.googleapis.com")
    assert verdict.verdict(environment(endpoint="gke", min_replicas=1), keyed=True)[0] == []


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
    google.jobs["1"] = {"id": "1", "name": "penstock-ab", "labels": {"environment": "dev"}}
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
    **{
        f"compute.region{part[0].upper()}{part[1:]}.list": (kind, "gkegw1-penstock-a", f"gcloud compute {group} delete")
        for part, kind, group in (
            ("targetHttpProxies", "HTTP proxy", "target-http-proxies"),
            ("targetHttpsProxies", "HTTPS proxy", "target-https-proxies"),
            ("urlMaps", "URL map", "url-maps"),
            ("backendServices", "backend service", "backend-services"),
            ("healthChecks", "health check", "health-checks"),
            ("networkEndpointGroups", "regional network endpoint group", "network-endpoint-groups"),
        )
    },
    "compute.addresses.list": (
        "address",
        "gke-lb",
        "gcloud compute addresses delete gke-lb --region=us-central1",
    ),
}


@pytest.mark.parametrize("method", LEFT)
def test_each_thing_left_behind_is_found_though_the_cluster_is_gone(google, method):
    kind, name, removal = LEFT[method]
    google.listed[method] = [{"name": name}]
    (found,) = sweep.left("acme-dev", "us-central1", ("us-central1-a",), "penstock-dev")
    removal = f"{removal} {name} --region=us-central1" if removal.endswith("delete") else removal
    assert (found.kind, found.name, found.removal) == (kind, name, removal)
    assert removal in sweep.receipt([found])
    # Nothing but Compute Engine is asked, and each question for this environment's things alone.
    assert {call.partition(".")[0] for call in google.calls} == {"compute"}
    assert set(google.calls) == set(LEFT)
    gateways = [asked for asked in google.asked if asked["filter"] == 'name eq "gkegw.*-penstock-.*"']
    assert len(gateways) == 5, "whose names tell the namespace, and nothing else whose they are"
    assert all("penstock-dev" in asked["filter"] for asked in google.asked if asked not in gateways)


def test_a_job_that_still_runs_on_dataflow_is_left_too(google):
    google.jobs = {
        state: {"id": state, "name": "penstock-ab-1", "labels": {"environment": env}, "currentState": state}
        for state, env in (("JOB_STATE_RUNNING", "dev"), ("JOB_STATE_DONE", "dev"))
    }
    google.jobs["other"] = {"id": "other", "name": "penstock-cd-1", "labels": {"environment": "prod"}}
    (found,) = sweep.left("acme-dev", "us-central1", (), "penstock-dev", beam=True)
    assert found.removal == "gcloud dataflow jobs cancel JOB_STATE_RUNNING --region=us-central1"
    assert "running Dataflow job penstock-ab-1 in us-central1" in sweep.receipt([found])


def test_a_plan_is_refused_before_anything_is_deployed(google):
    env = environment()
    offers(google, env, 0.0, SMALL)
    step = {"urn": "urn:pulumi:dev::penstock::a$gcp:storage/bucket:Bucket::store", "op": "replace"}
    answers = {"stack": {"deployment": {}}, "preview": {"steps": [step]}}

    def captured(command, *arguments):
        return json.dumps(answers[command])

    with pytest.raises(ToolError, match="replaces the bucket store"):
        google_stack.before_up(env, captured)
    google_stack.before_up(env.model_copy(update={"approve_replacement": ("store",)}), captured)
    offers(google, env, 0.0, [])
    with pytest.raises(ToolError, match=r"us-central1-a does not offer e2-standard-2\n.*offer e2-standard-4"):
        google_stack.before_up(env, captured)


def test_a_plan_and_the_comment_about_it_ask_the_project_too(google, monkeypatch):
    """The preview itself is the engine's (test_gitops_tools.py)."""
    env = environment()
    offers(google, env, 0.0, ["e2-standard-2"])
    monkeypatch.setattr(plan.settings_check, "check", lambda stack: Settings(platform="gcp", gcp=env))
    trial = SimpleNamespace(select=lambda: None, watched=previewed, captured=lambda *arguments: '{"deployment": {}}')
    monkeypatch.setattr(plan, "Pulumi", lambda stack, settings: trial)
    monkeypatch.setattr(plan, "judged_by_the_pack", list)
    found, refused = plan.judged("dev")
    assert refused == ["acme-dev cannot take it: us-central1-a does not offer e2-standard-4"]
    assert f"- {refused[0]}" in plan.comment("dev", found, refused)


def previewed(*arguments):
    """A preview with nothing wrong in it."""
    return 0, Events()


def test_after_a_destroy_a_person_is_told_what_is_left(google, capsys):
    google.listed["compute.disks.list"] = [{"name": "pvc-1"}]
    google_stack.after_down("dev", environment())
    assert "1 left, made behind the stack's back" in capsys.readouterr().err
    google_stack.after_down("dev", environment(), finished=False)
    assert "1 left, the stack's own, or made behind its back" in capsys.readouterr().err


@pytest.mark.parametrize("queries", [CloudRun("penstock-dev"), OnCluster("penstock-dev", "penstock")])
def test_the_page_of_charts_is_one_that_google_s_description_knows(queries):
    assert discovery.Schemas("monitoring", "v1").problems("Dashboard", page("Penstock", queries)) == []
