"""What is deployed to a cluster, as manifests; tests/cluster has a real API server judge and run them."""

import json

import pytest
from cluster_settings import ClusterSettings

from penstock import Job, Program, Role, Service
from penstock.errors import PenstockError
from penstock.kubernetes import Machine, ScaleOn, database
from penstock.kubernetes.job_files import JobFiles
from penstock.kubernetes.job_set import JobSetArgs, disruption_budget, edges, job_set
from penstock.kubernetes.serving import ServingArgs
from penstock.kubernetes.serving import objects as serving_objects
from penstock.kubernetes.workspace import WorkspaceArgs
from penstock.kubernetes.workspace import objects as workspace_objects

IMAGES = {Program.TRAINER: "trainer@sha256:1", Program.SERVER: "server@sha256:2"}
ROLES = {
    "chief": Role(["train"]),
    "ps": Role(["train"], replicas=2, restarts=3),
    "worker": Role(["train"], replicas=12, restarts=3),
    "evaluator": Role(["evaluate"]),
}


def rendered(name="flow-train-model", roles=ROLES, digests=None, **args):
    job = Job(Program.TRAINER, roles)
    commands = {role: list(details.command) for role, details in roles.items()}
    return job_set(
        name, job, commands, digests or {}, JobSetArgs("prod", IMAGES, "artifacts", args.pop("machines", {}), **args)
    )


def containers(manifest):
    found = {}
    for each in manifest["spec"]["replicatedJobs"]:
        found[each["name"]] = each["template"]["spec"]["template"]["spec"]["containers"][0]
    return found


def environment(container):
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def served(low=1, high=1, **args):
    service = Service(Program.SERVER, [], port=8501, min_replicas=low, max_replicas=high)
    return serving_objects(
        "serve", service, ["--model", "/artifacts/m"], ServingArgs("prod", "i@sha256:2", "artifacts", **args)
    )


def test_every_member_of_a_training_cluster_knows_all_by_stable_names_and_itself_by_its_index():
    manifest = rendered()
    name = manifest["metadata"]["name"]
    config = environment(containers(manifest)["worker"])["TF_CONFIG"]
    assert config.count("$(PENSTOCK_INDEX)") == 1
    parsed = json.loads(config.replace("$(PENSTOCK_INDEX)", "7"))
    assert parsed["task"] == {"type": "worker", "index": 7}
    assert parsed["cluster"]["worker"][11] == f"{name}-worker-0-11.{name}:2222"
    assert "evaluator" not in parsed["cluster"]
    assert "TF_CONFIG" not in environment(containers(manifest)["evaluator"])


def test_the_index_is_known_before_what_is_made_from_it():
    names = [each["name"] for each in containers(rendered())["ps"]["env"]]
    assert names.index("PENSTOCK_INDEX") < names.index("TF_CONFIG")


def test_every_member_is_told_how_long_the_kubelet_waits_between_sigterm_and_sigkill():
    for each in rendered()["spec"]["replicatedJobs"]:
        pod = each["template"]["spec"]["template"]["spec"]
        told = environment(pod["containers"][0])["PENSTOCK_GRACE_SECONDS"]
        assert float(told) == pod["terminationGracePeriodSeconds"] <= 25, each["name"]  # GKE's on Spot machines


def test_only_the_role_that_decides_leaves_a_result():
    found = {role: "PENSTOCK_RESULT" in environment(container) for role, container in containers(rendered()).items()}
    assert found == {"chief": True, "evaluator": False, "ps": False, "worker": False}


def test_the_same_job_has_the_same_name_and_a_changed_one_another():
    name = rendered()["metadata"]["name"]
    assert rendered()["metadata"]["name"] == name
    assert rendered(digests={"dataset": "sha256:2"})["metadata"]["name"] != name
    assert rendered(roles={**ROLES, "worker": Role(["train"], replicas=13, restarts=3)})["metadata"]["name"] != name


def test_the_longest_host_name_is_a_legal_one():
    manifest = rendered(name="a-pipeline-with-a-rather-long-name-of-its-own-train-model")
    name = manifest["metadata"]["name"]
    assert len(f"{name}-evaluator-0-0") <= 63
    assert len(f"{name}-worker-0-11") <= 63


def test_a_pod_is_restricted_and_has_no_token_and_writes_nowhere_but_to_its_volumes():
    for each in rendered()["spec"]["replicatedJobs"]:
        pod = each["template"]["spec"]["template"]["spec"]
        context = pod["containers"][0]["securityContext"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert set(pod["containers"][0]["resources"]["limits"]) >= {"cpu", "memory", "ephemeral-storage"}


def test_a_machine_with_accelerators_is_asked_for_and_its_taint_is_tolerated():
    machine = Machine(cpus=6, memory_gib=24, accelerators=2, node_selector={"pool": "gpu"})
    manifest = rendered(machines={"worker": machine})
    pods = {each["name"]: each["template"]["spec"]["template"]["spec"] for each in manifest["spec"]["replicatedJobs"]}
    worker = pods["worker"]["containers"][0]["resources"]
    assert worker["requests"]["nvidia.com/gpu"] == worker["limits"]["nvidia.com/gpu"] == "2"
    assert worker["requests"]["memory"] == "24Gi"
    assert pods["worker"]["nodeSelector"] == {"pool": "gpu"}
    assert pods["worker"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "tolerations" not in pods["ps"]


def test_a_queue_is_asked_for_by_its_name():
    assert rendered(queue="research")["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"


def test_a_slice_is_asked_of_jobset_and_where_there_is_a_queue_of_the_queue():
    pool, machines = "cloud.google.com/gke-nodepool", {"worker": Machine(accelerators=4)}
    alone = rendered(exclusive_topology=pool)["metadata"]["annotations"]
    assert alone == {"alpha.jobset.sigs.k8s.io/exclusive-topology": pool}
    queued = rendered(queue="research", exclusive_topology=pool, machines=machines)
    assert "annotations" not in queued["metadata"]
    roles = {each["name"]: each["template"]["spec"]["template"] for each in queued["spec"]["replicatedJobs"]}
    annotated = {role: pod["metadata"].get("annotations") for role, pod in roles.items()}
    required = {"kueue.x-k8s.io/podset-required-topology": pool}
    assert annotated == {"chief": None, "evaluator": None, "ps": None, "worker": required}


@pytest.mark.parametrize(
    ("address", "where", "port"),
    [
        ("postgresql://tuner@db.example:6432/studies", None, 6432),
        ("postgresql://10.1.2.3/studies", [{"ipBlock": {"cidr": "10.1.2.3/32"}}], 5432),
    ],
)
def test_a_studys_pods_reach_its_database_on_its_port_and_nothing_else(address, where, port):
    job = Job(Program.TRAINER, {"chief": Role(["tune", "--storage", address]), "trial": Role(["tune"])})
    assert database.url(job) == address
    edge = database.edge("flow-tune-study", "prod", database.url(job))["spec"]
    assert edge["podSelector"]["matchLabels"]["penstock.dev/workload"] == "flow-tune-study"
    (rule,) = edge["egress"]
    assert rule.get("to") == where
    assert rule["ports"] == [{"protocol": "TCP", "port": port}]


def test_a_password_is_named_in_every_pod_of_its_job_and_nowhere_written():
    manifest = rendered(environment=database.environment("flow-tune-study-database"))
    reference = {"secretKeyRef": {"name": "flow-tune-study-database", "key": "password"}}
    assert {str(environment(each)["PGPASSWORD"]) for each in containers(manifest).values()} == {str(reference)}
    assert database.url(Job(Program.TRAINER, ROLES)) == ""


def test_a_database_that_the_stack_makes_is_reached_by_its_study_alone_and_reaches_nobody():
    roles = {"chief": Role(["tune", "--storage", "postgresql", "--trials", "4"]), "trial": Role(["tune"])}
    job = database.at(Job(Program.TRAINER, roles), database.own_url("flow-tune-study"))
    assert job.roles["chief"].command == ["tune", "--storage", database.url(job), "--trials", "4"]
    assert job.roles["trial"].command == ["tune"]
    made = database.objects("flow-tune-study", database.DatabaseArgs("prod", "postgres@sha256:3"))
    chosen = made["server"]["spec"]["selector"]["matchLabels"]
    (way,) = database.edge("flow-tune-study", "prod", database.url(job))["spec"]["egress"]
    assert way["to"] == [{"podSelector": {"matchLabels": chosen}}]
    callers = made["callers"]["spec"]
    assert callers["podSelector"]["matchLabels"] == chosen
    assert "Egress" in workspace_objects(WorkspaceArgs("prod", "penstock-prod"))["deny"]["spec"]["policyTypes"]
    study = {"penstock.dev/workload": "flow-tune-study", "app.kubernetes.io/instance": "prod"}
    ports = [{"protocol": "TCP", "port": 5432}]
    assert callers["ingress"] == [{"from": [{"podSelector": {"matchLabels": study}}], "ports": ports}]
    assert way["ports"] == ports


def test_a_database_that_the_stack_makes_is_restricted_and_its_password_is_a_file():
    made = database.objects("flow-tune-study", database.DatabaseArgs("prod", "postgres@sha256:3", "fast"))
    spec = made["server"]["spec"]
    spec, (claim,) = spec["template"]["spec"], spec["volumeClaimTemplates"]
    (container,) = spec["containers"]
    assert container["image"] == "postgres@sha256:3"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 65532
    assert spec["automountServiceAccountToken"] is False
    assert "PGPASSWORD" not in environment(container)
    assert {"name": "keys", "secret": {"secretName": "flow-tune-study-database", "defaultMode": 0o440}} in spec[
        "volumes"
    ]
    assert claim["spec"]["storageClassName"] == "fast"
    written = {each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")}
    assert written == {"/tmp", "/var/lib/postgresql"}


def test_a_job_may_lose_one_pod_at_a_time_and_its_budget_is_a_number():
    # The API server refuses a share for pods that a Job owns.
    assert disruption_budget("train", 16, JobSetArgs("prod", IMAGES, "a", {}))["spec"]["minAvailable"] == 15


def test_everything_is_denied_but_names_the_training_port_and_the_endpoint():
    workspace = workspace_objects(WorkspaceArgs("prod", "penstock-prod"))
    deny = workspace["deny"]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    names = workspace["names"]["spec"]["egress"]
    assert {port["port"] for rule in names for port in rule["ports"]} == {53}
    training = edges("train", JobSetArgs("prod", IMAGES, "a", {}))["spec"]
    assert training["ingress"][0]["from"] == [{"podSelector": training["podSelector"]}]
    assert training["egress"][0]["ports"] == [{"protocol": "TCP", "port": 2222}]
    serving = served()["policy"]["spec"]
    assert serving["policyTypes"] == ["Ingress"]
    assert serving["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 8501}]


def test_an_endpoint_is_asked_by_the_namespaces_that_are_named_or_by_every_one():
    def sources(**args):
        return served(**args)["policy"]["spec"]["ingress"][0]["from"]

    assert sources() == [{"namespaceSelector": {}}]
    ((rule,),) = [each["namespaceSelector"]["matchExpressions"] for each in sources(caller_namespaces=["web", "apps"])]
    assert rule == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["apps", "web"]}


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ("data/*.csv", "are on this machine"),
        ("gs://b/*.csv", "are in an object store"),
    ],
)
def test_raw_files_that_no_pod_can_read_are_refused_with_what_to_do(raw, told, tmp_path):
    def seen(*files, known):
        job = Job(Program.TRAINER, {"chief": Role(["raw", *files])}, files=known)
        return JobFiles(tmp_path, ("/data/",), "name it").commands(job)["chief"][1:]

    with pytest.raises(PenstockError, match=rf"{told}.*, where the pods cannot read them; name it"):
        seen(raw, known=[raw])
    known = ["/data/*.csv", "problems/flights.py"]
    assert seen(*known, "gs://b", known=known) == ["/data/*.csv", "/problem/flights.py", "gs://b"]


def test_a_server_is_replaced_without_a_gap_and_reads_its_model_only():
    spec = served()["deployment"]["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 8501}
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] < pod["terminationGracePeriodSeconds"]
    assert all(mount["readOnly"] for mount in container["volumeMounts"] if mount["mountPath"] == "/artifacts")


def test_a_fixed_number_of_servers_is_ours_and_a_range_is_the_autoscalers():
    fixed, ranged = served(2, 2), served(2, 9)
    assert fixed["deployment"]["spec"]["replicas"] == 2
    assert "scaling" not in fixed
    assert "replicas" not in ranged["deployment"]["spec"]
    assert (ranged["scaling"]["spec"]["minReplicas"], ranged["scaling"]["spec"]["maxReplicas"]) == (2, 9)
    assert "budget" in ranged


KEDA = {"scale_on": ScaleOn.KEDA, "prometheus": "http://prometheus:9090", "namespace": "penstock-prod"}


def test_to_zero_is_kedas_and_what_clients_ask_of_this_stacks_pods_alone_is_counted():
    spec = served(0, 5, wake_query="gateway_waiting", **KEDA)["scaling"]["spec"]
    assert spec["minReplicaCount"] == 0
    assert spec["cooldownPeriod"] == 300
    rate, wake = (trigger["metadata"] for trigger in spec["triggers"])
    assert 'namespace="penstock-prod"' in rate["query"]
    assert 'route=~"predict|infer|grpc"' in rate["query"]
    assert wake["query"] == "clamp_max(sum(gateway_waiting), 1)"


def test_at_zero_an_activator_holds_what_comes_and_is_alone_between_the_callers_and_the_replicas():
    found = served(0, 5, caller_namespaces=["apps"], **KEDA)
    activator = found["activator"]["spec"]["template"]
    (container,) = activator["spec"]["containers"]
    assert container["args"][:2] == ["--to", "serve-replicas:8501"]
    assert [each["name"] for each in activator["spec"]["volumes"]] == ["scratch"], "it needs nothing of the claim"
    own, replicas = activator["metadata"]["labels"], found["deployment"]["spec"]["template"]["metadata"]["labels"]
    asked = found["service"]["spec"]["selector"]
    assert asked.items() <= own.items()
    assert not asked.items() <= replicas.items()
    assert found["replicas"]["metadata"]["name"] == "serve-replicas"
    assert found["replicas"]["spec"]["selector"].items() <= replicas.items()
    assert not found["replicas"]["spec"]["selector"].items() <= own.items()
    wake = found["scaling"]["spec"]["triggers"][-1]["metadata"]["query"]
    pods = '{namespace="penstock-prod",pod=~"serve-activator-[a-z0-9]+-[a-z0-9]+"}'
    assert wake == f"clamp_max(sum(penstock_activator_waiting{pods}), 1)"
    callers = found["activator-policy"]["spec"]["ingress"][0]["from"]
    assert found["policy"]["spec"]["ingress"][0]["from"] == [*callers, {"podSelector": {"matchLabels": asked}}]
    assert "activator" not in served(0, 5, wake_query="gateway_waiting", **KEDA)


def test_replicas_may_follow_the_requests_in_flight_and_stay_while_anybody_asks():
    in_flight = {**KEDA, "scale_on": ScaleOn.IN_FLIGHT, "requests_in_flight": 8}
    (trigger,) = served(1, 5, **in_flight)["scaling"]["spec"]["triggers"]
    pods = '{namespace="penstock-prod",pod=~"serve-[a-z0-9]+-[a-z0-9]+"}'
    assert trigger["metadata"]["query"] == f"sum(avg_over_time(penstock_requests_in_flight{pods}[1m]))"
    assert trigger["metadata"]["threshold"] == "8"
    to_zero = served(0, 5, wake_query="gateway_waiting", **in_flight)
    assert "replicas" not in to_zero["deployment"]["spec"]
    _, asked, wake = (each["metadata"] for each in to_zero["scaling"]["spec"]["triggers"])
    assert asked["query"].startswith("clamp_max(sum(rate(penstock_requests_total{")
    assert (asked["threshold"], wake["query"]) == ("1", "clamp_max(sum(gateway_waiting), 1)")


@pytest.mark.parametrize(
    ("lowest", "settings", "told"),
    [
        (1, {"scale_on": ScaleOn.KEDA}, "name its URL with the setting `prometheus`"),
        (1, {"scale_on": ScaleOn.IN_FLIGHT}, "scale_on is 'in-flight', which asks a Prometheus"),
        (0, {"scale_on": ScaleOn.CPU}, "scale_on 'cpu' keeps one replica at least"),
    ],
)
def test_a_range_that_nothing_could_follow_is_refused(lowest, settings, told):
    with pytest.raises(PenstockError, match=told):
        served(lowest, 5, **settings)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"trainer_image": "trainer:latest"}, "String should match pattern"),
        ({"namespace": "Not_A_Label"}, "String should match pattern"),
        ({"machines": {"wroker": {}}}, "there is no role wroker; roles are chief, ps"),
        ({"scale_on": "magic"}, "Input should be 'cpu', 'requests', 'keda', 'in-flight' or 'knative'"),
    ],
)
def test_a_wrong_setting_of_the_cluster_is_refused_by_its_name(setting, told):
    image = f"i@sha256:{'0' * 64}"
    with pytest.raises(ValueError, match=told):
        ClusterSettings(**{"trainer_image": image, "serving_image": image, **setting})
