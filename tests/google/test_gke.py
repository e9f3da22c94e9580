"""The endpoint and the studies' database on the environment's cluster, as they are planned and deployed."""

import json
import re
from pathlib import Path

import control_plane
import pytest

from penstock.kubernetes import readiness

CHECKOUT = Path(__file__).resolve().parents[2]
PROBLEM = "# A problem's file: the program that deploys never runs it.\n"
KEYS = {"sign_key": "what only the training reads", "verify_key": "what only the server reads"}


def objects(stack, kind):
    """The inputs of what a deployment registered of a kind, by name."""
    found = {}
    for each in stack.state():
        if each["type"].endswith(f":{kind}"):
            found[each["urn"].rpartition("::")[2]] = each.get("inputs", {})
    return found


@pytest.fixture(scope="module")
def failed(make_environment, policed):
    """dev with its endpoint on GKE and a study database, after an `up` in which a job was at fault; the policy pack
    judges every resource."""
    served = {"endpoint": "gke", "min_replicas": 2, "max_replicas": 7, "internet": False}
    # Servers on machines of their own and a database are more than dev's own budget has.
    budget = {"usd_per_month": 600, "billing_account": "000000-000000-000000"}
    further = {"notebook": False, "study_database": True, "endpoint_host": "late.example.com", "budget": budget}
    dev = make_environment("dev", **served, **further)
    (dev.folder / "mine.py").write_text(PROBLEM)
    for name, key in KEYS.items():
        (dev.folder / f"{name}.pem").write_text(key)
        dev.run("config", "set", name, f"{name}.pem", "--stack", "dev")
    dev.run("config", "set", "problem", "mine.py", "--stack", "dev")
    with control_plane.serving(dev.cloud, dev.folder) as plane:
        dev.around |= plane.around
        plane.failing = "train-model"
        said = dev.up(*policed, expected=1)
        plane.failing = ""
        yield dev, said, plane
        # Somebody has deleted the cluster by hand, and all that ran on it: the way down must not need it.
        with dev.cloud.resources() as resources:
            gone = [id_ for id_, each in resources.items() if each["type"] == "gcp:container/cluster:Cluster"]
            gone += [id_ for id_, each in resources.items() if each["type"].startswith("kubernetes:")]
            for id_ in gone:
                del resources[id_]
        dev.run("destroy", "--yes", "--skip-preview", "--stack", "dev")
        assert dev.cloud.existing() == {}


@pytest.fixture(scope="module")
def deployed(failed, policed):
    """The same after another `up`, with the fault gone."""
    dev, *_ = failed
    # With the policy pack: what a preview does not know yet, such as the jobs' pods, is judged here.
    assert "penstock@" in dev.up(*policed)
    return dev


def test_a_job_at_fault_is_told_by_its_last_words_and_the_next_up_goes_on_where_it_was(failed, deployed):
    _, said, _ = failed
    assert "flow-train-model-result failed" in said, said
    assert "column 'orign' is not in the dataset" in said
    assert "chief" in said
    assert deployed.outputs()["model_digest"].startswith("sha256:flow-train-model-")
    made = [id_ for operation, _, id_ in deployed.cloud.calls("create")]
    jobs = [id_ for id_ in made if "JobSet:" in id_]
    assert len(jobs) == len(set(jobs)) == 4, "no job was launched twice"
    assert made.count(next(id_ for id_ in made if "Cluster/" in id_)) == 1


def test_what_is_deployed_and_refreshed_has_nothing_left_to_do(deployed):
    count = len(deployed.cloud.calls())
    deployed.run("refresh", "--yes", "--skip-preview", "--stack", "dev")
    assert "unchanged" in (said := deployed.up())
    assert len(deployed.cloud.calls()) == count, said


def test_the_server_mounts_the_sealed_model_and_refuses_any_other(deployed):
    (served,) = objects(deployed, "Deployment").values()
    template = served["spec"]["template"]
    assert template["metadata"]["annotations"] == {"gke-gcsfuse/volumes": "true"}, "else the bucket is not mounted"
    assert {"environment", "owner", "model", "run"} <= set(template["metadata"]["labels"])
    (container,) = template["spec"]["containers"]
    model = deployed.outputs()["model_digest"]
    assert container["args"][container["args"].index("--expect-digest") + 1] == model
    assert container["args"][1].startswith("/artifacts/flow-train-model-")
    mounts = {each["mountPath"]: each.get("readOnly") for each in container["volumeMounts"]}
    assert mounts["/artifacts"] is True
    volumes = {each["name"]: each for each in template["spec"]["volumes"]}
    assert volumes["artifacts"]["persistentVolumeClaim"] == {"claimName": "artifacts", "readOnly": True}
    assert template["spec"]["nodeSelector"] == {"cloud.google.com/compute-class": "penstock-serving"}
    pool = objects(deployed, "NodePool")["serving-pool"]
    assert pool["autoscaling"]["totalMaxNodeCount"] == 3
    assert not pool["nodeConfig"]["spot"]


def test_an_up_looks_at_the_server_s_pods_itself_and_leads_nobody_there_before_they_answer(failed, deployed):
    """What it says of pods that are not ready: tests/cluster/test_readiness.py, on a real API server."""
    *_, plane = failed
    assert "flow-serve-server" in plane.watched
    resources = {each["urn"].rpartition("::")[2]: each for each in deployed.state()}
    ready = resources["flow-serve-server-ready"]
    assert ready["inputs"]["urn"] == ready["urn"], "by which the engine is told how far it is"
    assert ready["inputs"]["kubeconfig"] == resources["penstock-dev-kubernetes"]["inputs"]["kubeconfig"]
    annotations = resources["flow-serve-server-deployment"]["inputs"]["metadata"]["annotations"]
    assert annotations == readiness.SEEN, "the provider does not wait for them"
    for each in ("gateway", "route"):
        assert ready["urn"] in resources[f"flow-serve-server-{each}"]["dependencies"]


def test_an_internal_load_balancer_leads_to_it_and_nothing_from_outside(deployed):
    (gateway,) = objects(deployed, "Gateway").values()
    assert gateway["spec"]["gatewayClassName"] == "gke-l7-rilb"
    (address,) = objects(deployed, "Address").values()
    assert address["addressType"] == "INTERNAL"
    assert gateway["spec"]["addresses"] == [{"type": "NamedAddress", "value": address["name"]}]
    (route,) = objects(deployed, "HTTPRoute").values()
    (service,) = objects(deployed, "Service").values()
    (behind,) = route["spec"]["rules"][0]["backendRefs"]
    assert behind == {"name": service["metadata"]["name"], "port": service["spec"]["ports"][0]["port"]}
    assert route["spec"]["parentRefs"] == [{"name": gateway["metadata"]["name"]}]
    proxies = objects(deployed, "Subnetwork")["penstock-dev-proxies"]
    assert (proxies["purpose"], proxies["role"]) == ("REGIONAL_MANAGED_PROXY", "ACTIVE")
    policy = objects(deployed, "NetworkPolicy")["flow-serve-server-proxies"]
    allowed = [peer["ipBlock"]["cidr"] for peer in policy["spec"]["ingress"][0]["from"]]
    assert proxies["ipCidrRange"] in allowed
    assert "0.0.0.0/0" not in allowed
    (check,) = objects(deployed, "HealthCheckPolicy").values()
    assert check["spec"]["default"]["config"]["httpHealthCheck"]["requestPath"] == "/readyz"
    assert deployed.outputs()["endpoint"].startswith("http://late.example.com/v1/models/")


def test_its_alarms_and_charts_ask_for_what_its_servers_count_and_google_collects(deployed):
    (figures,) = objects(deployed, "PodMonitoring").values()
    (served,) = objects(deployed, "Deployment").values()
    pods = served["spec"]["template"]
    assert figures["spec"]["selector"]["matchLabels"].items() <= pods["metadata"]["labels"].items()
    (endpoint,) = figures["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in pods["spec"]["containers"][0]["ports"]}
    (page,) = (each for each in objects(deployed, "Dashboard").values() if "dashboardJson" in each)
    conditions = [each["conditions"][0] for each in objects(deployed, "AlertPolicy").values()]
    queries = [each["conditionPrometheusQueryLanguage"]["query"] for each in conditions]
    queries += [
        tile["widget"]["xyChart"]["dataSets"][0]["timeSeriesQuery"]["prometheusQuery"]
        for tile in json.loads(page["dashboardJson"])["mosaicLayout"]["tiles"]
    ]
    assert len(queries) == 6
    source = (CHECKOUT / "serving/penstock_serving/metrics.py").read_text()
    for query in queries:
        assert "run_googleapis_com" not in query
        assert 'cluster="penstock-dev",namespace="penstock"' in query
        for named in re.findall(r"penstock_[a-z_]+", query):
            assert f'"{re.sub("_(total|bucket)$", "", named)}"' in source, named


def test_tuning_shares_the_database_by_its_own_identity_and_no_password_is_anywhere(deployed):
    (tuning,) = (each for name, each in objects(deployed, "JobSet").items() if name == "flow-tune-study")
    for job in tuning["spec"]["replicatedJobs"]:
        (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
        url = container["args"][container["args"].index("--storage") + 1]
        own = "penstock-dev-trainer%40penstock-dev-example.iam"
        assert url == f"postgresql://{own}@10.60.0.3/studies?sslmode=require"
        environment = {each["name"]: each.get("value") for each in container["env"]}
        assert environment["PENSTOCK_DATABASE_SIGN_IN"] == "google"
        assert not [name for name in environment if "PASS" in name]
    (user,) = objects(deployed, "User").values()
    assert user["type"] == "CLOUD_IAM_SERVICE_ACCOUNT"
    assert "password" not in user
    policy = objects(deployed, "NetworkPolicy")["penstock-dev-database"]
    (egress,) = policy["spec"]["egress"]
    assert egress["to"] == [{"ipBlock": {"cidr": "10.60.0.3/32"}}]
    roles = {each["role"] for each in objects(deployed, "IAMMember").values()}
    assert "roles/cloudsql.instanceUser" in roles
    (instance,) = objects(deployed, "DatabaseInstance").values()
    assert instance["settings"]["ipConfiguration"]["ipv4Enabled"] is False


def test_each_key_is_in_a_secret_that_only_those_mount_who_need_it_and_nowhere_in_plain_text(deployed):
    secrets = {each["metadata"]["name"]: each["stringData"] for each in objects(deployed, "Secret").values()}
    assert len(secrets) == 2
    mounting = {}
    for kind in ("JobSet", "Deployment"):
        for name, each in objects(deployed, kind).items():
            mounting |= {secret: name for secret in secrets if f'"{secret}"' in json.dumps(each)}
    assert sorted(mounting.values()) == ["flow-serve-server-deployment", "flow-train-model"]
    state = json.dumps(deployed.state())
    assert not [key for key in KEYS.values() if key in state]


def test_a_problem_that_is_a_file_is_mounted_into_every_job_and_a_changed_one_makes_other_jobs(deployed):
    sets = objects(deployed, "JobSet")
    maps = {each["metadata"]["name"]: each for each in objects(deployed, "ConfigMap").values()}
    for name, each in sets.items():
        for job in each["spec"]["replicatedJobs"]:
            pod = job["template"]["spec"]["template"]["spec"]
            (container,) = pod["containers"]
            assert container["args"][container["args"].index("--problem") + 1] == "/problem/mine.py", name
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            (volume,) = (each for each in pod["volumes"] if each["name"] == mounts["/problem"])
            assert maps[volume["configMap"]["name"]]["data"] == {"mine.py": PROBLEM}
    (deployed.folder / "mine.py").write_text(f"{PROBLEM}# Changed.\n")
    try:
        said = deployed.run("preview", "--json", "--stack", "dev")
    finally:
        (deployed.folder / "mine.py").write_text(PROBLEM)
    steps = json.loads(said[said.index("{") :])["steps"]
    planned = {each["urn"].rpartition("::")[2]: each for each in steps if "$kubernetes:jobset.x-k8s.io" in each["urn"]}
    first = planned["flow-preprocess-raw"]
    assert first["op"] != "same"
    assert first["newState"]["inputs"]["metadata"]["name"] != sets["flow-preprocess-raw"]["metadata"]["name"]
    assert not any(each["op"] == "same" for each in planned.values()), "what is made from it follows"


def test_every_job_bears_a_run_of_its_own_which_bills_are_split_by(deployed):
    runs = {}
    for name, each in objects(deployed, "JobSet").items():
        pods = [job["template"]["spec"]["template"]["metadata"] for job in each["spec"]["replicatedJobs"]]
        (run,) = {pod["labels"]["run"] for pod in pods}
        assert {"environment", "owner", "model"} <= set(pods[0]["labels"])
        runs[name] = run
    assert "shared" not in runs.values()
    assert len(set(runs.values())) == len(runs) == 4, runs
