"""What a stack on a cluster asks the engine for, with all that its settings can ask for; no cluster and no engine."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pulumi
import pytest

from penstock import PenstockError, Pipeline, PipelineArgs
from penstock.kubernetes import ClusterArgs, KubernetesPlatform, Machine, ScaleOn, keys
from penstock.kubernetes import platform as module

IMAGE = f"registry.example.com/image@sha256:{'a' * 64}"
KNOWN = [{"number": float(each), "path": f"/artifacts/{each}", "digest": f"sha256:{each}"} for each in (1, 2)]
WEBHOOK, PASSWORD = "https://hooks.example:8443/T0ken", "hunter2"


class Mocks(pulumi.runtime.Mocks):
    """Remembers every resource by its name; a stage leaves what its name says."""

    def __init__(self):
        self.made = {}

    def new_resource(self, args):
        self.made[args.name] = args.inputs
        known = {"path": f"/artifacts/{args.name}", "digest": f"sha256:{args.name}", "counts": {}, "metrics": {}}
        plan = {"plan": '{"traffic": {}}', "known": KNOWN} if args.name.endswith("-versions") else {}
        generated = {"value": PASSWORD} if args.name.endswith("-database-password") else {}
        return args.name, {**args.inputs, **(known if args.name.endswith("-result") else plan), **generated}

    def call(self, args):
        raise AssertionError(args.token)


@pytest.fixture
def deployed(monkeypatch, tmp_path):
    """The inputs of all that a pipeline on a cluster makes, by name."""
    monkeypatch.setattr(module, "Api", lambda *_: None)
    for question in ("check", "check_features", "check_secrets"):
        monkeypatch.setattr(module.preflight, question, lambda *_: None)
    monkeypatch.setattr(module.gateways, "url", lambda _api, _gateway, host, *_: f"http://{host}")

    # Pulumi's test runtime makes an event loop in every thread that has none, and never closes it.
    loops: list[asyncio.AbstractEventLoop] = []

    def own_loop():
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    def make(cluster, training=None, storage="postgresql://me@10.1.2.3/studies", **endpoint):
        loop, threads, mocks = asyncio.new_event_loop(), ThreadPoolExecutor(initializer=own_loop), Mocks()
        loop.set_default_executor(threads)
        asyncio.set_event_loop(loop)
        pulumi.runtime.set_mocks(mocks)

        @pulumi.runtime.test
        def run():
            args = ClusterArgs("~/.kube/config", IMAGE, IMAGE, "penstock-dev", **cluster)
            target = KubernetesPlatform("dev", args, tmp_path)
            stages = {"tuning": {"storage": storage}, "training": training or {}, "endpoint": endpoint}
            Pipeline("flow", PipelineArgs(platform=target, problem="flights", **stages))

        try:
            run()
            while pending := asyncio.all_tasks(loop):
                loop.run_until_complete(asyncio.gather(*pending))
        finally:
            threads.shutdown()
            loop.close()
        return mocks.made

    yield make
    asyncio.set_event_loop(None)
    for loop in loops:
        loop.close()


def secret(sent):
    """What is sent as a secret; whatever is not has no such field."""
    return sent["value"]


def test_a_plain_stack_has_no_secret_no_plan_and_no_monitor(deployed):
    made = deployed({})
    server = made["flow-serve-server"]["spec"]["template"]["spec"]
    assert server["containers"][0]["args"][:2] == ["--model", "/artifacts/flow-train-model-result"]
    assert made["flow-serve-server-versions"]["digest"] == "sha256:flow-train-model-result"
    assert not [name for name in made if name.endswith(("-password", "-plan", "-skew"))]
    edge = made["flow-tune-study-database"]["spec"]["egress"][0]
    assert edge == {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"protocol": "TCP", "port": 5432}]}
    job = made["flow-train-model"]["metadata"]
    assert job["name"].startswith("flow-train-model-")
    assert job["namespace"] == "penstock-dev"


def test_weights_a_monitor_and_a_password_reach_the_objects_that_need_them(deployed):
    made = deployed(
        {"database_password": PASSWORD, "skew_schedule": "@hourly", "machines": {"server": Machine(cpus=2)}},
        traffic={"latest": 10.0, "previous": 90.0},
        monitoring={"webhook": WEBHOOK, "minimum_rows": 50},
    )
    assert secret(made["flow-tune-study-password"]["stringData"]) == {"password": PASSWORD}
    study = made["flow-tune-study"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    (told,) = [each for each in study["containers"][0]["env"] if each["name"] == "PGPASSWORD"]
    assert told["valueFrom"]["secretKeyRef"]["name"] == "flow-tune-study-database"
    assert made["flow-serve-server-versions"]["traffic"] == {"latest": 10.0, "previous": 90.0}
    plan = made["flow-serve-server-plan"]
    server = made["flow-serve-server"]["spec"]["template"]["spec"]
    assert {"name": "plan", "configMap": {"name": plan["metadata"]["name"]}} in server["volumes"]
    assert plan["data"] == {"plan.json": '{"traffic": {}}'}
    judge = made["flow-serve-server-skew"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert judge["args"][:2] == ["--model", "/artifacts/flow-train-model-result"]
    assert secret(made["flow-serve-server-skew-webhook"]["stringData"]) == {"PENSTOCK_ALERT_WEBHOOK": WEBHOOK}
    assert made["flow-serve-server-skew-policy"]["spec"]["egress"][0]["ports"][0]["port"] == 8443
    assert WEBHOOK not in str(server)
    assert PASSWORD not in str(study)


def test_a_database_is_made_for_the_study_whose_storage_it_is_to_be(deployed):
    made = deployed({"database_image": IMAGE, "storage_class": "fast"}, storage="postgresql")
    assert secret(made["flow-tune-study-password"]["stringData"]) == {"password": PASSWORD}
    server = made["flow-tune-study-database-server"]
    assert server["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert server["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] == "fast"
    for role in made["flow-tune-study"]["spec"]["replicatedJobs"]:
        container = role["template"]["spec"]["template"]["spec"]["containers"][0]
        place = container["args"].index("--storage") + 1
        assert container["args"][place] == "postgresql://penstock@flow-tune-study-database:5432/postgres"
        (told,) = [each for each in container["env"] if each["name"] == "PGPASSWORD"]
        assert told["valueFrom"]["secretKeyRef"]["name"] == "flow-tune-study-database"
    assert PASSWORD not in str(made["flow-tune-study"])
    assert PASSWORD not in str(server)


def test_a_database_without_an_image_is_refused(deployed):
    with pytest.raises(PenstockError, match="name its image by digest with the setting `database_image`"):
        deployed({}, storage="postgresql")


def test_behind_a_gateway_each_version_is_a_workload_of_its_own_and_the_route_has_the_weights(deployed):
    made = deployed(
        {"gateway": "infra/public", "gateway_host": "model.example", "caller_namespaces": ["apps"]},
        traffic={"latest": 10.0, "1": 90.0},
        monitoring={"minimum_rows": 50},
        min_replicas=2,
        max_replicas=2,
    )
    assert made["flow-serve-server-route"]["spec"] == {
        "parentRefs": [{"namespace": "infra", "name": "public"}],
        "hostnames": ["model.example"],
        "rules": [
            {
                "backendRefs": [
                    {"name": "flow-serve-server", "port": 8501, "weight": 10},
                    {"name": "flow-serve-server-1", "port": 8501, "weight": 90},
                ]
            }
        ],
    }
    latest, first = (
        made[name]["spec"]["template"]["spec"]["containers"][0]["args"]
        for name in ("flow-serve-server", "flow-serve-server-1")
    )
    assert latest[:2] == ["--model", "/artifacts/flow-train-model-result"]
    assert first == ["--model", "/artifacts/1", *latest[2:5], "sha256:1", *latest[6:]]
    assert first[6:8] == ["--minimum-rows", "50"]
    for part, field in (("policy", "podSelector"), ("budget", "selector"), ("service", "selector")):
        chosen = made[f"flow-serve-server-1-{part}"]["spec"][field]
        assert chosen.get("matchLabels", chosen)["penstock.dev/workload"] == "flow-serve-server-1"
    (rule,) = made["flow-serve-server-1-policy"]["spec"]["ingress"]
    assert rule["from"][0]["namespaceSelector"]["matchExpressions"][0]["values"] == ["apps", "infra"]
    assert "traffic" not in made["flow-serve-server-versions"], "other weights are no other versions"
    assert not [name for name in made if name.endswith("-plan")]


def test_behind_a_gateway_without_weights_there_is_the_latest_version_alone(deployed):
    made = deployed({"gateway": "infra/public"})
    (rule,) = made["flow-serve-server-route"]["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "flow-serve-server", "port": 8501}]
    assert "hostnames" not in made["flow-serve-server-route"]["spec"]


def test_by_knative_there_is_a_knative_service_in_place_of_a_deployment_and_what_leads_to_it(deployed):
    made = deployed({"scale_on": ScaleOn.KNATIVE}, traffic={"latest": 10.0, "previous": 90.0}, min_replicas=0)
    own = {name for name in made if name.startswith("flow-serve-server")}
    parts = ("knative", "policy", "plan", "ready", "versions")
    assert own == {f"flow-serve-server-{part}" for part in parts}
    server = made["flow-serve-server-knative"]["spec"]["template"]["spec"]
    assert server["containers"][0]["command"][-1] == "penstock_serving.supervisor"
    ready = made["flow-serve-server-ready"]
    assert (ready["kind"], ready["workload"]) == ("Knative Service", "flow-serve-server-knative")


def test_a_gateway_in_front_of_knative_is_refused(deployed):
    with pytest.raises(PenstockError, match="has a way in of its own; leave `gateway` out"):
        deployed({"scale_on": ScaleOn.KNATIVE, "gateway": "infra/public"})


def test_keys_of_this_machine_reach_the_pods_that_need_them_by_secrets(deployed, tmp_path):
    (tmp_path / "signing.pem").write_text("PRIVATE")
    (tmp_path / "verifying.pem").write_text("PUBLIC")
    made = deployed({}, {"sign_key": "signing.pem"}, verify_key="verifying.pem")
    train = made["flow-train-model"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    server = made["flow-serve-server"]["spec"]["template"]["spec"]
    for name, pod, asked in (
        ("flow-train-model", train, ["--sign-key", "/keys/signing.pem"]),
        ("flow-serve-server", server, ["--verify-key", "/keys/verifying.pem"]),
    ):
        arguments, held = pod["containers"][0]["args"], made[f"{name}-keys"]
        assert arguments[arguments.index(asked[0]) :][:2] == asked
        (volume,) = [each["secret"] for each in pod["volumes"] if each["name"] == "keys"]
        assert volume == {"secretName": held["metadata"]["name"], "defaultMode": 0o440}
        assert secret(held["stringData"]) == {
            Path(asked[1]).name: {"flow-train-model": "PRIVATE", "flow-serve-server": "PUBLIC"}[name]
        }
    assert "PRIVATE" not in str(made["flow-train-model"])
    assert "/keys" not in str(made["flow-tune-study"])
    with pytest.raises(PenstockError, match=r"the key 'none.pem' cannot be read: No such file"):
        keys.contents(tmp_path, ["none.pem"])
