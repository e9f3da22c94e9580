"""The whole pipeline on real pods: the real engine, the real JobSet controller, the real scheduler and kubelets."""

import json
import re

import pytest

from tests.cluster.conftest import PODS, eventually, replicas
from tests.pods.conftest import ask


def test_the_pods_train_with_parameter_servers_and_a_client_is_answered_by_the_model_they_made(served, api):
    outputs = served.outputs()
    assert outputs["rows"]["rows"] == 6000
    counts = json.loads((served.model() / "manifest.json").read_text())["counts"]
    assert counts["examples_seen"] >= counts["examples_due"] == counts["training"] * counts["epochs"] > 3000
    sets = api.items(f"/apis/jobset.x-k8s.io/v1alpha2/namespaces/{served.namespace}/jobsets")
    roles = {
        each["metadata"]["labels"]["penstock.dev/workload"]: {
            role["name"]: role["template"]["spec"]["completions"] for role in each["spec"]["replicatedJobs"]
        }
        for each in sets
    }
    assert roles["flow-train-model"] == {"chief": 1, "ps": 2, "worker": 2}
    assert all(each["status"]["terminalState"] == "Completed" for each in sets)
    samples = json.loads((served.model() / "samples.json").read_text())
    assert (served.model() / "signature.json").exists(), "the server takes no model without one"
    answered = ask(api, served, outputs["endpoint"], samples["instances"][:3])
    assert answered["digest"] == outputs["model_digest"]
    assert answered["predictions"] == pytest.approx(samples["predictions"][:3], abs=1e-6)


def test_the_command_tells_of_the_pods_shows_their_logs_and_verifies_what_they_serve(served, api):
    own = ("--stack", served.stack)
    said = served.operate("status", *own)
    assert re.search(r"flow-train-model-result\s+sealed", said), said
    assert "1 of 1 ready" in said
    assert f"version 1  {served.outputs()['model_digest'].removeprefix('sha256:')[:12]}  100%" in said
    lines = served.operate("logs", "train", "chief", "-n", "3", *own).splitlines()
    (chief,) = replicas(api, served.namespace, "chief", **{"penstock.dev/workload": "flow-train-model"})
    assert lines
    assert all(line.startswith(f"[pod/{chief['metadata']['name']}/trainer] ") for line in lines), lines
    served.operate("page", "report", "-o", "page.html", *own)
    assert "<html" in (served.root / "page.html").read_text()
    said = served.operate("verify", *own)
    assert "12 passed, 1 skipped" in said, said


def test_the_monitors_pod_finds_skew_in_what_the_server_has_observed(served, api):
    (row, *_) = json.loads((served.model() / "samples.json").read_text())["instances"]
    ask(api, served, served.outputs()["endpoint"], [row] * 100)
    windows = served.volume / "observations" / "flow-serve-server"
    eventually(lambda: list(windows.rglob("manifest.json")), "a window is written", 30)
    jobs = f"/apis/batch/v1/namespaces/{served.namespace}/jobs"
    scheduled = api.get(f"/apis/batch/v1/namespaces/{served.namespace}/cronjobs/flow-serve-server-skew")
    template = scheduled["spec"]["jobTemplate"]
    metadata = {**template["metadata"], "name": "skew-now"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}
    api.request("POST", jobs, body=job)

    def judged():
        conditions = api.get(f"{jobs}/skew-now")["status"].get("conditions", [])
        return [each for each in conditions if each["type"] in ("Complete", "Failed") and each["status"] == "True"]

    (verdict,) = eventually(judged, "the monitor judges", 60)
    (pod,) = api.items(PODS.format(served.namespace), {"labelSelector": "batch.kubernetes.io/job-name=skew-now"})
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    # It is nobody's in the stack, and its pod would hold the claim when the stack goes.
    deletion = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    api.request("DELETE", f"{jobs}/skew-now", body=deletion)
    assert verdict["type"] == "Failed", ended
    assert ended["exitCode"] == 1
    assert re.search(r"`\w+`.* since \d\d:\d\d UTC", ended["message"]), ended
