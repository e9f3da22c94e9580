# pyright: basic
"""An endpoint's service on Cloud Run, as Google tells of it."""

import pytest

from penstock.command.cloud_run import READY
from penstock.gcp.guarded import MARK

EVERYBODY = {"allUsers", "allAuthenticatedUsers"}
LATEST = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"


@pytest.fixture(scope="module")
def made(target):
    """The service as the stack made it."""
    return target.cloud_run.made


@pytest.fixture(scope="module")
def service(target):
    """The service as it is."""
    return target.cloud_run.service()


def test_its_newest_revision_is_ready_and_answers_all_requests(service):
    assert service["terminalCondition"]["state"] == READY, service["terminalCondition"]
    assert service["latestReadyRevision"] == service["latestCreatedRevision"]
    newest = service["latestReadyRevision"].rpartition("/")[2]
    others = [
        each
        for each in service.get("trafficStatuses", [])
        if each.get("percent") and each["type"] != LATEST and each.get("revision") != newest
    ]
    assert others == []


def test_it_has_the_range_that_the_stack_says(target, service):
    (allowed,) = target.ranges.values()
    assert MARK not in service.get("annotations", {}), "the budget's guard has lowered its range"
    assert int(service.get("scaling", {}).get("minInstanceCount", 0)) == allowed.lowest
    assert int(service["template"]["scaling"]["maxInstanceCount"]) == allowed.highest


def test_it_is_reached_from_where_the_stack_says(made, service):
    assert service["ingress"] == made["ingress"]


def test_nobody_may_call_it_without_being_named(target, service):
    assert not service.get("invokerIamDisabled")
    assert target.cloud_run.callers() & EVERYBODY == set()


def test_its_server_is_the_image_that_the_stack_pins(made, service):
    image = service["template"]["containers"][0]["image"]
    assert "@sha256:" in image
    assert image == made["template"]["containers"][0]["image"]


def test_it_runs_as_the_account_that_the_stack_gives_it(made, service):
    assert service["template"]["serviceAccount"] == made["template"]["serviceAccount"]
