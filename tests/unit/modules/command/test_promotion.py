"""To which model `penstock rollback` goes back, by what a stack's endpoint or its history tells."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from pulumi import automation

from penstock.command import promotion
from penstock.command.project import Project
from penstock.command.state import State
from penstock.errors import PenstockError
from penstock.local.spec import write_json

KNOWN = [{"number": number, "path": f"/models/{number}", "digest": f"sha256:{number * 64}"} for number in "123"]


@pytest.fixture
def local(tmp_path):
    """The version that `rollback` writes down, where these versions answered and the configuration says `traffic`."""
    (tmp_path / "Pulumi.yaml").write_text("name: penstock\nruntime: python\n")
    write_json(tmp_path / "versions.json", KNOWN)
    service = {"urn": "urn::server", "type": "x:LocalService", "outputs": {"folder": str(tmp_path), "pid": 1}}

    def to(served, traffic=None):
        write_json(tmp_path / "served.json", served)
        write_json(tmp_path / "Pulumi.local.yaml", {"config": {"penstock:traffic": traffic} if traffic else {}})
        state = State("local", {"resources": [service]})
        return promotion.to_version_before(Project(tmp_path), state).value

    return to


def test_the_version_that_answered_before_the_present_one_answers_again(local):
    assert local(["1", "2", "3"]) == "2"
    assert local(["1", "3"]) == "1", "the second was never asked"
    assert local(["1", "3"], {"3": 70, "1": 30}) == "1"


def test_twice_goes_two_back_whether_or_not_it_was_deployed_between(local):
    assert local(["1", "2", "3"], "2") == "1"
    assert local(["1", "2"], "2") == "1"


@pytest.mark.parametrize("served", [["1"], ["1", "2", "3"]])
def test_from_the_first_version_it_goes_nowhere_least_of_all_forward(local, served):
    with pytest.raises(PenstockError, match="nothing answered in stack local before model 1"):
        local(served, "1")


def test_what_was_never_served_because_it_was_refused_is_left_for_what_serves(local):
    assert local(["1", "2"], "3") == "2"
    assert local(["1", "2"], "7") == "2"


def history(*models, failed=()) -> Any:
    """Updates as the Automation API tells of them, the last one first."""
    told = [
        SimpleNamespace(
            result="failed" if model in failed else "succeeded",
            config={"penstock:gcp": automation.ConfigValue(json.dumps({"model": model}))},
        )
        for model in models
    ]
    project = SimpleNamespace(settings={"name": "penstock"})
    return SimpleNamespace(name="prod", project=project, automation=SimpleNamespace(history=lambda: told[::-1]))


def test_a_stack_that_serves_another_s_models_goes_back_along_its_updates():
    assert promotion.before(history("a", "b", "b", "c"), "c") == "b"
    assert promotion.before(history("a", "b", "c", "b"), "b") == "a", "the second rollback does not go forward"
    assert promotion.before(history("a", "b", "c", failed="c"), "c") == "b"
    with pytest.raises(PenstockError, match="nothing answered in stack prod before model a"):
        promotion.before(history("a", "b", "a"), "a")
