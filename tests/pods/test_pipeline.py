"""The whole pipeline on real pods: the real engine, the real JobSet controller, the real scheduler and kubelets."""

import json
import re

import pytest

from tests.cluster.conftest import replicas
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
