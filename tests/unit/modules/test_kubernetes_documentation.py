"""docs/kubernetes.md: its settings are settings, and its commands are there."""

import json
import re
from pathlib import Path

import yaml
from settings import Settings

PROJECT = Path(__file__).resolve().parents[3]
PAGE = (PROJECT / "docs/kubernetes.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_stack_file_is_a_good_one():
    text, _rules = blocks("yaml")  # the rules: tests/pods/costly/test_autoscaling.py
    config = {key: value if isinstance(value, str) else json.dumps(value) for key, value in _config(text).items()}
    settings = Settings.from_config(config)
    assert settings.cluster is not None
    args = settings.cluster.args("cluster", PROJECT)
    assert args.machines["worker"].accelerators == 1
    assert args.namespace == "penstock-cluster"


def _config(text):
    return yaml.safe_load(text)["config"]


def test_every_command_is_one():
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert lines
    for line in lines:
        if line.startswith("make "):
            assert line.split()[1] in targets
        else:
            elsewhere = ("pulumi config set ", "kubectl ")
            assert line.startswith(elsewhere), "run by tests/google/test_documentation.py or cluster/test_pipeline.py"
