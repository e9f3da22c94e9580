"""Two versions behind a real Gateway: Traefik shares out what a pod asks, by the weights of the stack's HTTPRoute."""

import re
import sys

import pytest
from cluster import keda, network, prometheus, traefik

from tests.cluster.conftest import PODS, eventually
from tests.pods.costly.test_autoscaling import Client

SERVER = "flow-serve-server"
AT = {"gateway": f"{traefik.NAMESPACE}/{traefik.NAME}"}
ASKING = """
import collections, json, pathlib, sys, time, urllib.request
url, row = sys.argv[1:]
told, said = pathlib.Path("/tmp/told"), pathlib.Path("/tmp/said")
told.write_text("")
order, counted, failed = "", collections.Counter(), []
while True:
    if told.read_text() != order:
        order = told.read_text()
        counted.clear()
    try:
        with urllib.request.urlopen(url + ":predict", row.encode(), timeout=20) as answer:
            counted[answer.headers["x-model-digest"]] += 1
    except Exception as exc:
        failed.append(repr(exc))
    # Whole or not at all: it is read at any time.
    said.with_suffix(".new").write_text(json.dumps({"order": order.strip(), "counted": counted, "failed": failed}))
    said.with_suffix(".new").rename(said)
    time.sleep(0.02)
"""
"""Asks without a pause, and counts which version answers since it was told something else."""
BURST = """
import collections, json, pathlib, sys, threading, time, urllib.request
url, row = sys.argv[1:]
told, said = pathlib.Path("/tmp/told"), pathlib.Path("/tmp/said")
counted, failed, seconds = collections.Counter(), [], []
def ask():
    begin = time.monotonic()
    try:
        with urllib.request.urlopen(url + ":predict", row.encode(), timeout=240) as answer:
            counted[answer.headers["x-model-digest"]] += 1
        seconds.append(time.monotonic() - begin)
    except Exception as exc:
        failed.append(repr(exc))
said.write_text("null")
while not told.exists():
    time.sleep(0.1)
asking = [threading.Thread(target=ask) for _ in range(int(told.read_text()))]
[each.start() for each in asking]
[each.join() for each in asking]
pathlib.Path("/tmp/new").write_text(json.dumps({"counted": counted, "failed": failed, "seconds": seconds}))
pathlib.Path("/tmp/new").rename(said)
time.sleep(3600)
"""
"""Asks as often at once as it is told, and says who answered after how long."""
FROM_ZERO = {"min_replicas": 0, "max_replicas": 1, "idle_seconds": 20, "epochs": 2}


@pytest.fixture(scope="module")
def _gateway(plane):
    traefik.install(plane)


@pytest.fixture
def client(plane, _gateway, api, served, request):
    """A pod that asks an endpoint behind a Gateway; afterwards there is none again."""
    served.configure(cluster=AT)
    served.run("up")
    assert served.outputs()["endpoint"].startswith(f"http://{network.GATEWAY}:{traefik.PORT}/")
    yield Client(plane, api, served, getattr(request, "param", ASKING))
    served.configure()
    served.run("up")
    path = f"{PODS.format('default')}/client"
    api.request("DELETE", path)
    eventually(lambda: api.get(path) is None, "the client is gone")


def test_each_version_gets_its_share_other_weights_replace_no_pod_and_no_request_fails(client, served, api):
    def share(weights, what):
        """The latest version's part of some hundred requests after an `up` with these weights."""
        served.configure(epochs=2, traffic=weights, cluster=AT)
        served.run("up")
        client.tell(what)

        def enough():
            said = client.counted()
            return said["order"] == what and sum(said["counted"].values()) > 300 and said

        said = eventually(enough, "300 requests")
        assert said["failed"] == []
        found = said["counted"].get(served.outputs()["model_digest"], 0) / sum(said["counted"].values())
        print(f"{what}: {found:.3f} of {sum(said['counted'].values())} requests", file=sys.stderr)
        return found

    def pods():
        found = api.items(PODS.format(served.namespace), {"labelSelector": "penstock.dev/role=server"})
        return {pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]}

    assert share({"latest": 10, "previous": 90}, "a tenth") == pytest.approx(0.1, abs=0.03)
    before = pods()
    assert len(before) == 2
    own = ("--stack", served.stack)
    checked = served.operate("verify", *own)
    # What is asked of the endpoint is asked of the pod of each version; of these, one is not of the stack's last run.
    assert re.search(r"\b17 passed, 3 skipped", checked), checked
    told = served.operate("logs", "serve", *own)
    assert {line.split("/")[1] for line in told.splitlines() if line.startswith("[pod/")} == before
    assert share({"latest": 60, "previous": 40}, "more") == pytest.approx(0.6, abs=0.03)
    assert pods() == before
    assert share({"latest": 100}, "all") == pytest.approx(1, abs=0.01)
    assert {name.startswith(f"{SERVER}-previous") for name in pods()} == {False}


@pytest.mark.parametrize("client", [BURST], indirect=True)
def test_at_zero_each_version_holds_its_share_of_the_requests_and_answers_it(client, plane, served, api):
    prometheus.install(plane)
    keda.install(plane)
    asked = {**AT, "scale_on": "keda", "prometheus": prometheus.URL, "requests_per_second": 10}
    served.configure(**FROM_ZERO, traffic={"latest": 50, "previous": 50}, cluster=asked)
    served.run("up")

    def pods():
        return api.items(PODS.format(served.namespace), {"labelSelector": "penstock.dev/role=server"})

    eventually(lambda: not pods(), "nobody asks: no pod of either version", 300)
    client.tell(8)
    said = eventually(client.counted, "all are answered", 300)
    print(f"8 requests at zero: {said}", file=sys.stderr)
    assert said["failed"] == []
    assert sorted(said["counted"].values()) == [4, 4]
    assert served.outputs()["model_digest"] in said["counted"]
    assert min(said["seconds"]) > 1, "they were asked at zero"
