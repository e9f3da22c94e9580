"""Which versions a cluster's endpoint knows, and what its servers are told of them."""

import json
import subprocess
from pathlib import Path

import pytest

from penstock import Program, Service
from penstock.errors import ServiceFailed
from penstock.kubernetes.serving import ServingArgs, objects
from penstock.kubernetes.versions import VersionsProvider

PROJECT = Path(__file__).resolve().parents[3]


def model(letter, traffic=None):
    """What the provider is told when a model comes."""
    path, digest = f"/artifacts/models/{letter}", f"sha256:{letter * 64}"
    return {"name": "serve-versions", "path": path, "digest": digest, "model_name": "flights", "traffic": traffic}


def after(*models):
    """What is known when these have come one after the other, numbers as the engine gives them back."""
    first, *others = models
    outs = VersionsProvider().create(first).outs or {}
    for each in others:
        outs = VersionsProvider().update("", json.loads(json.dumps(outs), parse_int=float), each).outs or {}
    return outs


def test_weights_speak_of_all_models_that_have_come_and_one_that_comes_back_keeps_its_number():
    weights = {"latest": 10.0, "previous": 90.0}
    plan = json.loads(after(model("a"), model("b", weights))["plan"])
    assert plan["traffic"] == {"2": 10.0, "1": 90.0}
    assert plan["versions"]["1"] == {"path": "/artifacts/models/a", "digest": f"sha256:{'a' * 64}"}
    again = json.loads(after(model("a"), model("b"), model("c"), model("a", {"latest": 1.0, "cccccccc": 0.0}))["plan"])
    assert (again["latest"], again["traffic"]) == ("1", {"1": 1.0, "3": 0.0})
    assert after(model("a"), model("b"))["plan"] == ""


def test_other_weights_are_another_plan_and_the_same_are_the_same():
    outs = after(model("a"), model("b", {"latest": 10.0, "previous": 90.0}))
    assert VersionsProvider().diff("", outs, model("b", {"latest": 10.0, "previous": 90.0})).changes is False
    assert VersionsProvider().diff("", outs, model("b", {"latest": 20.0, "previous": 80.0})).changes is True
    assert after(model("a"), model("b", {"1": 1.0}))["plan"] != after(model("a"), model("b", {"2": 1.0}))["plan"]


def test_a_version_that_nobody_knows_is_told_with_those_that_are_known():
    with pytest.raises(ServiceFailed, match=r"names '3': expected latest.*the endpoint knows 1 \(aaaaaaaaaaaa\)"):
        after(model("a", {"3": 100.0}))


def test_the_servers_own_reader_takes_the_plan(tmp_path):
    file = tmp_path / "plan.json"
    file.write_text(after(model("a"), model("b", {"latest": 10.0, "previous": 90.0}))["plan"])
    read = "import sys, pathlib; from penstock_serving.plan import Plan; print(Plan.read(pathlib.Path(sys.argv[1])))"
    python = PROJECT / "serving/.venv/bin/python"
    done = subprocess.run([python, "-c", read, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "traffic={'2': 10.0, '1': 90.0}, rollout=None, replicas=Replicas(lowest=1, highest=1" in done.stdout


def test_with_a_plan_a_supervisor_serves_what_it_says_and_is_watched_in_the_same_way():
    service = Service(Program.SERVER, [], port=8501, monitoring=["--window-seconds", "60"])
    command = ["--model", "/artifacts/m", "--window-seconds", "60"]
    plain = objects("serve", service, command, ServingArgs("prod", "i@sha256:2", "artifacts"))
    split = objects("serve", service, command, ServingArgs("prod", "i@sha256:2", "artifacts", plan="serve-plan-1"))
    pods = [each["deployment"]["spec"]["template"]["spec"] for each in (plain, split)]
    alone, container = (pod["containers"][0] for pod in pods)
    assert alone["args"][:2] == ["--model", "/artifacts/m"]
    assert container["command"] == ["python", "-m", "penstock_serving.supervisor"]
    assert container["args"][:2] == ["--plan", "/plan/plan.json"]
    assert "--model" not in container["args"]
    assert container["args"][4:6] == ["--window-seconds", "60"]
    (mount,) = [each for each in container["volumeMounts"] if each["mountPath"] == "/plan"]
    assert mount["readOnly"] is True
    assert {"name": "plan", "configMap": {"name": "serve-plan-1"}} in pods[1]["volumes"]
    assert container["readinessProbe"] == alone["readinessProbe"]
