"""NetworkPolicies as the stack makes them, enforced on real nodes: who reaches whom, and who does not."""

import json

import pytest
from cluster import network

from penstock.kubernetes.pods import PodSpec, labels, pod
from penstock.platform import Program, Resources
from tests.cluster.conftest import PODS, eventually
from tests.pods.conftest import ended

LISTEN = """
import socketserver, threading
servers = [socketserver.ThreadingTCPServer(("", port), socketserver.BaseRequestHandler) for port in (2222, 3333)]
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
"""
# The rules of a pod come a moment after the pod: what counts is what holds then.
CONNECT = """
import json, socket, sys, time
targets, expected, seen, steady = json.loads(sys.argv[1]), json.loads(sys.argv[2]), {}, 0
def reached(host, port):
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True
deadline = time.monotonic() + 60
while steady < 3 and time.monotonic() < deadline:
    seen = {name: reached(*target) for name, target in targets.items()}
    steady = steady + 1 if seen == expected else 0
open("/dev/termination-log", "w").write(json.dumps(seen))
"""
TRAINING, TUNING = "flow-train-model", "flow-tune-study"


@pytest.fixture
def start(served, api):
    """Starts a pod of a workload, or one of nobody's in another namespace; its path."""
    made = []

    def started(code, workload, *arguments):
        namespace = served.namespace if workload else "default"
        spec = pod(PodSpec(Program.TRAINER, served.images["trainer"], [], Resources(0.1, 0.5)))
        spec["containers"][0] |= {"command": ["python", "-c", code], "args": list(arguments)}
        if not workload:
            del spec["serviceAccountName"]
        own = labels(served.stack, workload, "probe") if workload else {}
        metadata = {"generateName": "probe-", "labels": own}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, "restartPolicy": "Never"}}
        name = api.request("POST", PODS.format(namespace), body=body)["metadata"]["name"]
        made.append(f"{PODS.format(namespace)}/{name}")
        return made[-1]

    yield started
    for path in made:
        api.request("DELETE", path, body={"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})


def address(api, path):
    return eventually(lambda: (api.get(path) or {"status": {}})["status"].get("podIP"), "its address", 120)


@pytest.mark.parametrize(
    ("workload", "reaches"),
    [(TRAINING, ["parameter server", "names"]), (TUNING, ["names"]), ("", ["server", "names"])],
    ids=["a member of the training", "a pod of another job", "a pod of another namespace"],
)
def test_only_the_members_of_a_training_reach_each_other_and_only_the_server_is_reached_by_others(
    served, api, start, workload, reaches
):
    listening = start(LISTEN, TRAINING)
    (server,) = api.items(PODS.format(served.namespace), {"labelSelector": "penstock.dev/role=server"})
    targets = {
        "parameter server": (address(api, listening), 2222),
        "its other ports": (address(api, listening), 3333),
        "server": (server["status"]["podIP"], server["spec"]["containers"][0]["ports"][0]["containerPort"]),
        "API server": (network.GATEWAY, network.SERVER_PORT),
        "names": (network.GATEWAY, 53),
    }
    # In a namespace that no policy is for, all is open that is not the stack's.
    opened = [*reaches, *([] if workload else ["API server"])]
    expected = {name: name in opened for name in targets}
    asking = start(CONNECT, workload, json.dumps(targets), json.dumps(expected))
    assert json.loads(ended(api, asking)) == expected
