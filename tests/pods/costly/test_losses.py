"""What trains on real pods goes on to the right end, whichever of them is killed, moved away or lost with its node."""

import json
import os
import re
import signal
import sys
import time
from contextlib import contextmanager

import pytest
from common import ToolError

from penstock.kubernetes.api import Unreachable
from tests.cluster.conftest import JOB_SETS, PODS, eventually, replicas
from tests.pods.conftest import ask

TOLERANCES = {"auc": 0.05}
"""By how much the metrics of two trainings of about as many epochs may differ: workers take turns as they come."""


class Training:
    """A training under way in a stack's namespace: its pods, and what its chief has said."""

    def __init__(self, plane, api, project):
        self.plane, self.api, self.project = plane, api, project

    def set(self):
        found = self.api.items(JOB_SETS.format(self.project.namespace))
        return max(
            (each for each in found if each["metadata"]["labels"]["penstock.dev/workload"] == "flow-train-model"),
            key=lambda each: each["metadata"]["creationTimestamp"],
        )

    def restarts(self):
        return self.set().get("status", {}).get("restarts", 0)

    def pods(self, role, index=None):
        live = self.set()
        # After a restart of all, those from before it are still there for a while.
        attempt = str(live.get("status", {}).get("restarts", 0))
        selector = {"jobset.sigs.k8s.io/jobset-name": live["metadata"]["name"]}
        selector["jobset.sigs.k8s.io/restart-attempt"] = attempt
        found = replicas(self.api, self.project.namespace, role, index, **selector)
        return [pod for pod in found if pod["status"].get("phase") == "Running"]

    def said(self):
        chiefs = self.pods("chief")
        if not chiefs:
            return ""
        name = chiefs[0]["metadata"]["name"]
        try:
            return self.plane.kubectl("logs", "--namespace", self.project.namespace, name)
        except ToolError:
            # Its node or the API server may be gone just now.
            return ""

    def epochs(self):
        return [line for line in self.said().splitlines() if line.startswith("epoch ")]

    def goes_on(self, what):
        """Waits until the chief has finished two epochs more."""
        before = len(self.epochs())
        eventually(lambda: len(self.epochs()) >= before + 2, f"training goes on {what}", 180)

    def kill(self, role, index=0):
        """Has a pod's process die as the kernel kills one for want of memory: SIGKILL, from the node."""
        pod = self.pods(role, index)[0]
        uid = pod["metadata"]["uid"]
        node = int(pod["spec"]["nodeName"].removeprefix("node-"))
        self.plane.kubelets.kill(node, uid)
        return uid


@pytest.fixture(scope="module")
def undisturbed(served):
    """The metrics of such a training to which nothing happened."""
    served.configure(epochs=600)
    served.run("up")
    print(f"undisturbed: {served.outputs()['metrics']}", file=sys.stderr)
    return served.outputs()["metrics"]


@pytest.fixture
def training(plane, api, served, undisturbed):
    """Starts a training of many epochs, and afterwards has it be the right one that serves."""

    @contextmanager
    def begun(epochs, **settings):
        # Each test trains a model that none has trained before.
        served.configure(epochs=epochs, **settings)
        started = served.start("up")
        running = Training(plane, api, served)
        try:
            served.wait_for("flow-train-model-result", started, 240)
            eventually(lambda: len(running.epochs()) >= 2, "the chief trains", 240)
            yield running
            assert started.wait(600) == 0, served.output()
        finally:
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGINT)
                started.wait(60)
        manifest = json.loads((served.model() / "manifest.json").read_text())
        counts = manifest["counts"]
        assert counts["examples_due"] == epochs * 3889
        assert counts["examples_seen"] >= counts["examples_due"]
        print(f"{epochs} epochs: {served.outputs()['metrics']}", file=sys.stderr)
        for name, within in TOLERANCES.items():
            found, expected = (each["test"][name] for each in (served.outputs()["metrics"], undisturbed))
            assert found == pytest.approx(expected, abs=within), (name, found, expected)
        samples = json.loads((served.model() / "samples.json").read_text())
        answered = ask(api, served, served.outputs()["endpoint"], samples["instances"][:3])
        assert answered["digest"] == served.outputs()["model_digest"]

    return begun


def test_a_worker_a_parameter_server_and_the_chief_are_killed_one_after_the_other(training):
    with training(605) as running:
        killed = running.kill("worker")
        running.goes_on("without a worker")
        eventually(
            lambda: [pod for pod in running.pods("worker", 0) if pod["metadata"]["uid"] != killed],
            "the worker is started again in its place",
        )
        assert running.restarts() == 0, "nobody else was started again"
        running.kill("ps")
        eventually(lambda: running.restarts() == 1, "all are started again without a parameter server")
        eventually(lambda: running.epochs(), "the chief goes on", 180)
        assert not running.epochs()[0].startswith("epoch 1 of"), "it went on from its checkpoint"
        running.kill("chief")
        eventually(lambda: running.restarts() == 2, "all are started again without a chief")
        eventually(lambda: running.epochs(), "a new chief goes on", 180)
        assert not running.epochs()[0].startswith("epoch 1 of"), "it went on from its checkpoint"


def test_an_evaluator_judges_checkpoints_beside_the_training_and_its_loss_ends_nothing(training, plane, served):
    def scores():
        pods = running.pods("evaluator")
        if not pods:
            return []
        said = plane.kubectl("logs", "--namespace", served.namespace, pods[0]["metadata"]["name"])
        return re.findall(r"^evaluator: after [\d,]+ examples, validation .*auc ([\d.]+)", said, re.MULTILINE)

    with training(650, evaluator=True) as running:
        assert 0.4 < float(eventually(scores, "the evaluator has judged a checkpoint", 120)[0]) < 1
        killed = running.kill("evaluator")
        eventually(
            lambda: [pod for pod in running.pods("evaluator") if pod["metadata"]["uid"] != killed],
            "the evaluator is started again in its place",
        )
        eventually(scores, "it judges the next checkpoints", 120)
        assert running.restarts() == 0, "nobody else was started again"
    curves = list(served.volume.rglob("evaluator/events.*"))
    assert curves, "it leaves its curves"


def test_a_worker_and_then_the_chief_are_evicted_and_neither_counts_as_a_failure(training, api, served):
    def evict(pod):
        name, path = pod["metadata"]["name"], f"{PODS.format(served.namespace)}/{pod['metadata']['name']}/eviction"
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}

        def taken():
            try:
                return api.request("POST", path, body=eviction)
            except Unreachable:
                # 429: the job's budget lets one pod go at a time.
                return None

        eventually(taken, f"{name} may go", 120)

    with training(640) as running:
        worker = running.pods("worker")[0]
        evict(worker)
        eventually(
            lambda: [pod for pod in running.pods("worker", 0) if pod["metadata"]["uid"] != worker["metadata"]["uid"]],
            "the worker is started again in its place",
            120,
        )
        assert running.restarts() == 0, "nobody else was started again"
        running.goes_on("with another worker")
        evict(running.pods("chief")[0])
        eventually(lambda: running.restarts() == 1, "all are started again without a chief", 120)
        eventually(lambda: running.epochs(), "a new chief goes on", 240)
        assert not running.epochs()[0].startswith("epoch 1 of"), "it went on from its checkpoint"
        assert running.set()["status"].get("restartsCountTowardsMax", 0) == 0


def test_the_api_server_goes_away_and_comes_back_in_the_middle_of_up(training, plane):
    with training(610) as running:
        plane.stop_server()
        time.sleep(5)
        plane.start_server()
        running.goes_on("though the API server was away")
        assert running.restarts() == 0


def test_the_node_of_the_chief_is_drained_and_all_that_was_on_it_goes_on_elsewhere(training, plane):
    with training(620) as running:
        chief = running.pods("chief")[0]
        node = chief["spec"]["nodeName"]
        plane.kubectl("drain", node, "--force", "--delete-emptydir-data", "--timeout=240s")
        moved = eventually(lambda: running.pods("chief"), "a chief runs elsewhere", 120)[0]
        assert moved["spec"]["nodeName"] != node
        eventually(lambda: running.epochs(), "the chief trains", 240)
        assert not running.epochs()[0].startswith("epoch 1 of"), "it went on from its checkpoint"
        plane.kubectl("uncordon", node)


def test_a_node_loses_its_power_and_what_was_on_it_goes_on_elsewhere(training, plane):
    with training(630) as running:
        node = running.pods("ps", 0)[0]["spec"]["nodeName"]
        index = int(node.removeprefix("node-"))
        plane.kubelets.cut(index)
        asked = ("get", "node", node, "--output", 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')
        eventually(lambda: plane.kubectl(*asked) == "Unknown", "the node is missed")
        # What a cloud does when the machine is gone; until then nobody knows that its pods have ended.
        plane.kubectl("delete", "node", node)

        def elsewhere():
            pods = [pod for role in ("chief", "ps", "worker") for pod in running.pods(role)]
            return len(pods) == 5 and all(pod["spec"]["nodeName"] != node for pod in pods) and running.epochs()

        eventually(elsewhere, "all go on on the other node", 300)
        assert not running.epochs()[0].startswith("epoch 1 of"), "it went on from its checkpoint"
        plane.kubelets.start_node(index)
        plane.kubelets.wait(index)
