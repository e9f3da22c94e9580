"""KEDA and the real HPA give an endpoint the replicas its clients need, by what is really counted of it."""

import json
import sys
import time

import pytest
import yaml
from cluster import keda, metrics, prometheus
from common import PROJECT

from tests.cluster.conftest import PODS, eventually

SERVER = "/apis/apps/v1/namespaces/{}/deployments/flow-serve-server"
CLIENT = """
import http.client, json, pathlib, sys, threading, time, urllib.parse, urllib.request
url, row = sys.argv[1:]
told, said = pathlib.Path("/tmp/told"), pathlib.Path("/tmp/said")
counted = {"answered": 0, "failed": [], "held": []}
def ask(timeout=20):
    with urllib.request.urlopen(url + ":predict", row.encode(), timeout=timeout) as answer:
        answer.read()
def once():
    try:
        ask()
        counted["answered"] += 1
    except Exception as exc:
        counted["failed"].append(repr(exc))
def hold():
    begin = time.monotonic()
    try:
        ask(240)
        counted["held"].append(time.monotonic() - begin)
    except Exception as exc:
        counted["failed"].append(repr(exc))
    told.write_text("2")
where, large, begun = urllib.parse.urlsplit(url), row.encode().ljust(1 << 20), []
def begin(count):
    while len(begun) < count:
        asking = http.client.HTTPConnection(where.netloc, timeout=60)
        asking.putrequest("POST", where.path + ":predict")
        asking.putheader("content-length", str(len(large)))
        asking.endheaders()
        begun.append(asking)
def finish():
    while begun:
        try:
            asking = begun.pop()
            asking.send(large)
            answer = asking.getresponse()
            answer.read()
            if answer.status != 200:
                raise OSError(answer.status)
            counted["answered"] += 1
        except Exception as exc:
            counted["failed"].append(repr(exc))
told.write_text("0")
while True:
    order = told.read_text().strip()
    if order == "hold":
        hold()
        continue
    if order.startswith("begin "):
        begin(int(order.split()[1]))
        order = ""
    else:
        finish()
    rate = float(order or 0)
    if rate:
        threading.Thread(target=once).start()
    time.sleep(1 / rate if rate else 0.1)
    said.write_text(json.dumps(counted))
"""
"""Asks at the rate it is told and counts what fails; or asks once and waits, at `hold`; or begins as many requests as
it is told, and ends them at the next order."""


class Client:
    """The pod that does so, in a namespace that is not the endpoint's."""

    def __init__(self, plane, api, project, program=CLIENT):
        self._plane, self._path = plane, f"{PODS.format('default')}/client"
        samples = json.loads((project.model() / "samples.json").read_text())
        arguments = [project.outputs()["endpoint"], json.dumps({"instances": samples["instances"][:1]})]
        container = {"name": "client", "image": project.images["trainer"]}
        container["command"] = ["python", "-c", program, *arguments]
        spec = {"terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False, "containers": [container]}
        metadata = {"name": "client"}
        eventually(lambda: api.get("/api/v1/namespaces/default/serviceaccounts/default"), "an account for the client")
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        api.request("POST", PODS.format("default"), body=body)
        eventually(lambda: api.get(self._path)["status"].get("phase") == "Running", "the client runs", 120)

    def tell(self, order):
        self._run(f"echo {order} > /tmp/told")

    def counted(self):
        return json.loads(self._run("cat /tmp/said"))

    def _run(self, script):
        return self._plane.kubectl("exec", "client", "--namespace", "default", "--", "sh", "-c", script)


@pytest.fixture(scope="module")
def watched(plane):
    """Prometheus."""
    prometheus.install(plane)


@pytest.fixture(scope="module")
def controllers(plane, watched):
    """KEDA, beside it."""
    begin = time.monotonic()
    keda.install(plane)
    print(f"KEDA answers after {time.monotonic() - begin:.0f} s", file=sys.stderr)


@pytest.fixture(params=["keda", "in-flight"])
def scale_on(request):
    """What replicas follow."""
    return request.param


@pytest.fixture
def scaled(plane, api, served, controllers, scale_on):
    """The endpoint with a range from zero, and a client of it."""
    asked = {"scale_on": scale_on, "prometheus": prometheus.URL, "requests_per_second": 10, "requests_in_flight": 10}
    yield from ranging(plane, api, served, 0, asked)


@pytest.fixture(params=["requests", "cpu"])
def scaled_without_keda(request, plane, api, served, watched):
    """The same from one, by the API that the HPA asks itself."""
    if request.param == "cpu":
        metrics.install_cpu(plane)
    else:
        page = (PROJECT / "docs/kubernetes.md").read_text(encoding="utf-8")
        metrics.install_requests(plane, yaml.safe_load(page.split("by this rule:\n\n```yaml\n")[1].split("```")[0]))
    for client in ranging(plane, api, served, 1, {"scale_on": request.param, "requests_per_second": 10}):
        # A request takes half a millisecond, and a pod asks for a tenth of a processor.
        yield client, {"requests": 3, "cpu": 2}[request.param]


def ranging(plane, api, served, low, asked):
    """The client of an endpoint that has `low` to 3 replicas, and one again afterwards."""
    client = Client(plane, api, served)
    served.configure(min_replicas=low, max_replicas=3, idle_seconds=20, cluster=asked)
    served.run("up")
    yield client
    served.configure()
    served.run("up")
    eventually(lambda: api.get(SERVER.format(served.namespace))["status"].get("readyReplicas") == 1, "one server again")
    path = f"{PODS.format('default')}/client"
    api.request("DELETE", path)
    eventually(lambda: api.get(path) is None, "the client is gone")


def becomes(api, served, count, what):
    """Waits until so many replicas are there and ready, and no pod besides: one that ends answers to the last."""
    begin = time.monotonic()

    def reached():
        status = api.get(SERVER.format(served.namespace))["status"]
        pods = api.items(PODS.format(served.namespace), {"labelSelector": "penstock.dev/role=server"})
        return status.get("replicas", 0) == status.get("readyReplicas", 0) == len(pods) == count

    eventually(reached, what, 300)
    print(f"{what}: {time.monotonic() - begin:.0f} s", file=sys.stderr)


def test_replicas_follow_the_load_up_and_down_to_zero_and_back_and_no_request_fails(scaled, served, api, scale_on):
    becomes(api, served, 0, "nobody asks: to 0 replicas")
    scaled.tell("hold")
    becomes(api, served, 1, "a request at zero: from 0 to 1 replica")
    held = eventually(lambda: scaled.counted()["held"], "the request that was held is answered")
    print(f"it was answered after {held[0]:.0f} s", file=sys.stderr)
    assert held[0] > 1, "it was asked at zero"
    scaled.tell({"keda": "40", "in-flight": "begin 40"}[scale_on])
    becomes(api, served, 3, "40 requests a second or in flight, 10 each: from 1 to 3 replicas")
    scaled.tell(1)
    becomes(api, served, 1, "1 request a second: from 3 to 1 replica")
    scaled.tell(0)
    becomes(api, served, 0, "no requests: from 1 to 0 replicas")
    counted = scaled.counted()
    print(f"{counted['answered']} requests answered", file=sys.stderr)
    assert counted["failed"] == []
    assert counted["answered"] > {"keda": 300, "in-flight": 40}[scale_on]


def test_replicas_follow_what_the_hpa_asks_for_itself_and_no_request_fails(scaled_without_keda, served, api):
    client, most = scaled_without_keda
    becomes(api, served, 1, "nobody asks: 1 replica")
    client.tell(120)
    becomes(api, served, most, f"120 requests a second: from 1 to {most} replicas")
    client.tell(1)
    becomes(api, served, 1, f"1 request a second: from {most} to 1 replica")
    counted = client.counted()
    print(f"{counted['answered']} requests answered", file=sys.stderr)
    assert counted["failed"] == []
    assert counted["answered"] > 300
