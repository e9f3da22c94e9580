"""What a budget's stages do, by requests that Google's own descriptions know; and the function as Google runs it."""

import ast
import base64
import json
import os
import socket
import subprocess
import time
from pathlib import Path

import loopback
import pytest
import requests

from penstock.errors import PenstockError
from penstock.gcp import guarded, guarding
from penstock.gcp.budget_guard import CONTROL, source

CHECKOUT = Path(__file__).resolve().parents[2]
SERVICE = "projects/acme-dev/locations/us-central1/services/penstock-dev"
STAGES = {"warn": 0.5, "stop_trials": 0.8, "scale_to_zero": 1.0}
SETTINGS = {
    "stages": STAGES,
    "records": "guard",
    "store": "store",
    "service": SERVICE,
    "floor": 2,
    "cluster": "control-plane.example",
    "namespace": "penstock",
    "dataflow": "projects/acme-dev/locations/us-central1",
    "environment": "dev",
}
SCALING = {"minInstanceCount": 3, "maxInstanceCount": 50, "scalingMode": "AUTOMATIC"}


def message(cost, budget=100.0, told="2026-11-20T10:00:00.000Z", since="2026-11-01T00:00:00Z"):
    """As Google's documentation shows a budget's message, in Pub/Sub's envelope."""
    content = {
        "budgetDisplayName": "penstock-dev",
        "costAmount": cost,
        "costIntervalStart": since,
        "budgetAmount": budget,
        "budgetAmountType": "SPECIFIED_AMOUNT",
        "currencyCode": "USD",
    }
    attributes = {"billingAccountId": "000000-000000-000000", "budgetId": "b", "schemaVersion": "1.0"}
    data = base64.b64encode(json.dumps(content).encode()).decode()
    return {"message": {"data": data, "attributes": attributes, "messageId": "1", "publishTime": told}}


@pytest.fixture
def google(monkeypatch):
    with loopback.serving() as google:
        for name in (guarded.RUN, guarded.CLUSTER, guarded.DATAFLOW, "STORAGE_EMULATOR_HOST"):
            monkeypatch.setenv(name, google.url)
        google.services[SERVICE] = {"scaling": dict(SCALING), "annotations": {"other": "kept"}, "etag": "1"}
        google.jobs["beam"] = {"id": "beam", "name": "beam", "labels": {"environment": "dev"}}
        google.jobs["foreign"] = {"id": "foreign", "name": "foreign", "labels": {"environment": "prod"}}
        google.cluster = {
            "jobsets": {
                "train": {"spec": {}},
                "by-hand": {"spec": {"suspend": True}},
                "done": {"status": {"terminalState": "Completed"}},
            },
            "deployments": {"serve": {"spec": {"replicas": 5}}, "lone": {"spec": {"replicas": 4}}},
            "horizontalpodautoscalers": {
                "serve": {"spec": {"minReplicas": 1, "maxReplicas": 9, "scaleTargetRef": {"name": "serve"}}}
            },
        }
        for objects in google.cluster.values():
            for name, each in objects.items():
                each["metadata"] = {"name": name}
        yield google


def act(cost, settings=SETTINGS, **further):
    return guarding.act(guarding.Guarded(**settings), guarding.spending(message(cost, **further)))


def spec(google, kind, name):
    return google.cluster[kind][name]["spec"]


@pytest.mark.parametrize(
    ("cost", "stages"),
    [
        (0, []),
        (49.99, []),
        (50, ["warn"]),
        (79.99, ["warn"]),
        (80, ["warn", "stop_trials"]),
        (99.99, ["warn", "stop_trials"]),
        (100, ["warn", "stop_trials", "scale_to_zero"]),
        (250, ["warn", "stop_trials", "scale_to_zero"]),
    ],
)
def test_a_stage_begins_at_its_share_of_the_budget_and_not_before(google, cost, stages):
    state = act(cost)
    assert state["stages"] == stages
    assert (guarded.NO_NEW_TRIALS in google.buckets.get("store", {})) == ("stop_trials" in stages)
    assert bool(spec(google, "jobsets", "train").get("suspend")) == ("scale_to_zero" in stages)
    assert (google.services[SERVICE]["scaling"] != SCALING) == ("scale_to_zero" in stages)
    assert json.loads(google.buckets["guard"]["budget.json"]) == state, "the state can be seen"


def test_when_the_budget_is_spent_jobs_are_suspended_and_the_endpoint_keeps_its_floor(google):
    changed = act(100)["changed"]
    floor = {"minInstanceCount": 2, "maxInstanceCount": 2, "scalingMode": "AUTOMATIC"}
    assert google.services[SERVICE]["scaling"] == floor
    assert google.services[SERVICE]["annotations"]["other"] == "kept"
    autoscaler = spec(google, "horizontalpodautoscalers", "serve")
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (1, 2)
    assert spec(google, "deployments", "serve")["replicas"] == 5, "its autoscaler's to lower"
    assert spec(google, "deployments", "lone")["replicas"] == 2
    assert google.jobs["beam"]["requestedState"] == "JOB_STATE_CANCELLED"
    assert "requestedState" not in google.jobs["foreign"]
    assert "suspend" not in google.cluster["jobsets"]["done"].get("spec", {})
    assert {"no new trials", "job train is suspended", "Dataflow job beam is cancelled"} <= set(changed)


def test_the_trainer_looks_for_the_object_that_the_guard_writes():
    """Two packages that do not know each other: the name stands in both."""
    trainer = ast.parse((CHECKOUT / "trainer/penstock_trainer/tune.py").read_text(encoding="utf-8"))
    (name,) = (
        node.value
        for node in trainer.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "NO_NEW_TRIALS"
    )
    assert ast.literal_eval(name) == guarded.NO_NEW_TRIALS
    assert guarded.NO_NEW_TRIALS.startswith(CONTROL), "which is where the guard may write"


def test_a_message_that_comes_twice_changes_nothing_more(google):
    first = act(100)
    google.calls.clear()
    assert act(100) == first
    assert act(120, told="2026-11-20T11:00:00.000Z")["changed"] == first["changed"]
    assert [each for each in google.calls if each.endswith((".patch", ".update"))] == []
    assert google.calls.count("storage.objects.insert") == 2, "the state, each time"


def test_what_is_started_after_the_budget_is_spent_is_suspended_by_the_next_message(google):
    act(100)
    google.cluster["jobsets"]["late"] = {"metadata": {"name": "late"}, "spec": {}}
    state = act(101, told="2026-11-20T11:00:00.000Z")
    assert state["changed"] == ["job late is suspended"]


@pytest.mark.parametrize("how", [{"since": "2026-12-01T00:00:00Z", "cost": 0.5}, {"budget": 1000.0, "cost": 101}])
def test_a_new_month_and_a_larger_budget_give_back_what_was_there_and_nothing_that_others_stopped(google, how):
    act(100)
    assert act(told="2026-12-01T01:00:00.000Z", **how)["stages"] == []
    assert google.services[SERVICE]["scaling"] == SCALING
    assert google.services[SERVICE]["annotations"] == {"other": "kept"}
    assert spec(google, "horizontalpodautoscalers", "serve")["maxReplicas"] == 9
    assert spec(google, "deployments", "lone")["replicas"] == 4
    assert spec(google, "jobsets", "train")["suspend"] is False
    assert spec(google, "jobsets", "by-hand")["suspend"] is True, "somebody else's"
    assert guarded.NO_NEW_TRIALS not in google.buckets["store"]


def test_a_message_that_comes_late_undoes_nothing(google):
    newest = act(100, told="2026-11-20T12:00:00.000Z")
    assert act(60, told="2026-11-20T11:00:00.000Z") == newest
    assert spec(google, "jobsets", "train")["suspend"] is True


def test_a_floor_of_none_turns_the_endpoint_off_and_back_on(google):
    act(100, {**SETTINGS, "floor": 0})
    assert google.services[SERVICE]["scaling"] == {"scalingMode": "MANUAL", "manualInstanceCount": 0}
    assert spec(google, "deployments", "serve")["replicas"] == 0, "at zero replicas its autoscaler rests"
    act(1, {**SETTINGS, "floor": 0}, told="2026-12-01T01:00:00.000Z")
    assert google.services[SERVICE]["scaling"] == SCALING
    assert spec(google, "deployments", "serve")["replicas"] == 5


def test_an_endpoint_below_its_floor_is_not_raised_to_it(google):
    google.services[SERVICE]["scaling"] = {"minInstanceCount": 0}
    google.cluster["deployments"]["lone"]["spec"]["replicas"] = 1
    act(100)
    assert google.services[SERVICE]["scaling"] == {"maxInstanceCount": 2, "scalingMode": "AUTOMATIC"}
    assert spec(google, "deployments", "lone")["replicas"] == 1


def test_what_failed_half_way_is_gone_on_with(google):
    google.failing = "run.projects.locations.services.patch"
    with pytest.raises(PenstockError, match="Google answers 503 to PATCH /v2/projects"):
        act(100)
    assert "budget.json" not in google.buckets.get("guard", {}), "a state that is not reached is not claimed"
    google.failing = ""
    assert act(100)["stages"] == [*STAGES]
    assert google.services[SERVICE]["scaling"]["maxInstanceCount"] == 2


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"message": {"data": "%%%", "publishTime": "2026"}},
        message(1, budget=0),
        message(-1),
        message(float("nan")),
        {"message": {"data": base64.b64encode(b"[]").decode(), "publishTime": "2026"}},
    ],
)
def test_what_is_no_message_of_a_budget_is_told_and_let_go(google, monkeypatch, capsys, event):
    monkeypatch.setenv(guarding.SETTINGS, json.dumps(SETTINGS))
    guarding.handle(event)
    assert json.loads(capsys.readouterr().out)["severity"] == "ERROR"
    assert google.calls == []


def test_the_function_as_google_builds_it_acts_on_a_cloud_event(google, tmp_path):
    """The files that `BudgetGuard` uploads and nothing else, in an environment of their own requirements."""
    for path, text in source().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    runner = CHECKOUT / ".tools/guard/bin/functions-framework"
    command = [runner, "--target", "guard", "--signature-type", "cloudevent", "--host", "127.0.0.1", "--port", port]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    own = {**kept, guarding.SETTINGS: json.dumps(SETTINGS)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        answer = _posted(f"http://127.0.0.1:{port}/", process)
        assert answer.status_code == 200, answer.text
    finally:
        process.terminate()
        said = process.communicate(timeout=30)[0]
    told = next(json.loads(line) for line in said.splitlines() if line.startswith('{"severity"'))
    assert told["severity"] == "WARNING"
    assert "100% of the budget is spent (100.00 of 100.00); warn, stop_trials, scale_to_zero" in told["message"]
    assert spec(google, "jobsets", "train")["suspend"] is True


def _posted(url, process):
    """The message as Eventarc delivers it, once the function listens."""
    headers = {
        "ce-id": "1",
        "ce-specversion": "1.0",
        "ce-type": "google.cloud.pubsub.topic.v1.messagePublished",
        "ce-source": "//pubsub.googleapis.com/projects/acme-dev/topics/penstock-dev",
    }
    deadline = time.monotonic() + 60
    while True:
        try:
            return requests.post(url, json=message(100), headers=headers, timeout=30)
        except requests.ConnectionError:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)
