"""What judges all that an endpoint's replicas observed, and what its servers are given for it."""

import pytest

from penstock import Program, Service
from penstock.kubernetes import watching
from penstock.kubernetes.serving import ServingArgs, objects

ARGS = watching.WatchArgs("prod", "server@sha256:2", "artifacts", "*/10 * * * *", "flights", secret=True)
RULES = ["--window-seconds", "60", "--minimum-rows", "50", "--skew-ignore", "month"]


def server(**args):
    service = Service(Program.SERVER, [], port=8501)
    made = objects("serve", service, ["--model", "/m"], ServingArgs("prod", "i@sha256:2", "artifacts", **args))
    return made["deployment"]["spec"]["template"]["spec"]


def mounts(pod):
    return {each["mountPath"]: each for each in pod["containers"][0]["volumeMounts"]}


def test_a_server_writes_what_it_observed_to_one_folder_of_the_claim_and_to_nothing_else_there():
    pod = server(observations=watching.folder("serve"))
    assert pod["containers"][0]["args"][2:4] == ["--observations", "/observations"]
    assert mounts(pod)["/observations"] == {
        "name": "artifacts",
        "mountPath": "/observations",
        "subPath": "observations/serve",
    }
    assert mounts(pod)["/artifacts"]["readOnly"] is True
    (maker,) = pod["initContainers"]
    assert maker["command"][-1] == "/artifacts/observations/serve"
    assert maker["securityContext"] == pod["containers"][0]["securityContext"]
    alone = server()
    assert "initContainers" not in alone
    (volume,) = [each for each in alone["volumes"] if each["name"] == "artifacts"]
    assert volume["persistentVolumeClaim"]["readOnly"] is True


def test_the_monitor_judges_by_the_servers_rules_and_is_told_the_webhook_by_a_secret():
    made = watching.monitor("serve", "/artifacts/models/m", RULES, ARGS)
    assert made["spec"]["schedule"] == "*/10 * * * *"
    assert made["spec"]["concurrencyPolicy"] == "Forbid"
    pod = made["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["command"] == ["python", "-m", "penstock_serving.skew"]
    assert container["args"][:4] == ["--model", "/artifacts/models/m", "--name", "flights"]
    assert container["args"][-4:] == RULES[2:]
    assert container["envFrom"] == [{"secretRef": {"name": "serve-skew"}}]
    assert mounts(pod)["/observations"]["subPath"] == "observations/serve"


@pytest.mark.parametrize(
    ("url", "port"),
    [("https://hooks.example/T0", 443), ("http://alerts.monitoring", 80), ("https://hooks.example:8443/T0", 8443)],
)
def test_the_monitor_alone_reaches_the_webhooks_port(url, port):
    edge = watching.edge("serve", "prod", watching.port(url))["spec"]
    assert edge["podSelector"]["matchLabels"]["penstock.dev/workload"] == "serve-skew"
    assert edge["egress"] == [{"ports": [{"protocol": "TCP", "port": port}]}]
