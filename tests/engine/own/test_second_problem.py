"""The second bundled problem: one line of the stack's configuration names it."""

import json
import urllib.request
from pathlib import Path

import pytest
import yaml


def test_one_line_of_configuration_makes_and_serves_the_other_problem_s_model(project):
    small = {"rows": 3000, "trials": 1, "strategy": "local"}
    file = project.root / "stacks/Pulumi.local.yaml"
    project.configure(**small)
    before = yaml.safe_load(file.read_text())["config"]
    project.configure(**small, problem="ratings")
    after = yaml.safe_load(file.read_text())["config"]
    assert {key: value for key, value in after.items() if before[key] != value} == {"penstock:problem": "ratings"}
    project.run("up")
    outputs = project.outputs()
    assert outputs["endpoint"].endswith("/v1/models/ratings")
    assert outputs["rows"]["rows"] == 3000
    assert outputs["metrics"]["test"]["rmse"] < 1.5
    model = Path(project.deployment()["flow-train-model"]["outputs"]["path"])
    samples = json.loads((model / "samples.json").read_text())
    body = json.dumps({"instances": samples["instances"]}).encode()
    with urllib.request.urlopen(outputs["endpoint"] + ":predict", body, timeout=10) as answer:
        found = json.load(answer)["predictions"]
    assert found == pytest.approx(samples["predictions"], abs=1e-6)
    assert all(0 < stars < 6 for stars in found)
