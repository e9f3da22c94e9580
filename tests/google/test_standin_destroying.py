"""What the stand-in refuses to delete, as Google and Kubernetes do."""

import json

import pytest
from standin import destroying

INSTANCE, USER = "gcp:sql/databaseInstance:DatabaseInstance", "gcp:sql/user:User"
NETWORK, CONNECTION = "gcp:compute/network:Network", "gcp:servicenetworking/connection:Connection"


def refused(token, *others, ever=True, **given):
    resources = {"it": {"type": token, "inputs": given}}
    resources |= {f"other-{at}": {"type": "", "inputs": each} for at, each in enumerate(others)}
    return destroying.refusal(token, "it", resources, ever)


@pytest.mark.parametrize(
    ("token", "given", "told"),
    [
        (USER, {"name": "a", "databaseRoles": ["cloudsqlsuperuser"]}, "some objects depend on it"),
        (CONNECTION, {"service": "servicenetworking.googleapis.com"}, "still using this connection"),
        (INSTANCE, {"name": "a"}, "without setting deletionProtection=false"),
    ],
)
def test_it_refuses_what_google_refuses_unless_the_program_says_how(token, given, told):
    assert told in (refused(token, **given) or "")
    allowed = {"deletionPolicy": "REMOVE_PEERING" if token == CONNECTION else "ABANDON", "deletionProtection": False}
    assert refused(token, **given, **allowed) is None


def test_a_network_that_something_stands_in_is_not_deleted():
    link = "https://www.googleapis.com/projects/p/global/networks/penstock-dev"
    assert "already being used by other-0" in (refused(NETWORK, {"network": link}, name="penstock-dev") or "")
    assert refused(NETWORK, {"network": f"{link}-2"}, name="penstock-dev") is None


def test_what_is_abandoned_stays_until_that_goes_which_it_lies_in():
    resources = {
        "database": {"type": INSTANCE, "inputs": {"name": "studies"}},
        "user": {"type": USER, "inputs": {"name": "a", "instance": "studies", "deletionPolicy": "ABANDON"}},
        "other": {"type": USER, "inputs": {"name": "a", "instance": "another"}},
    }
    destroying.delete(USER, "user", resources)
    assert set(resources) == {"database", "user", "other"}
    destroying.delete(INSTANCE, "database", resources)
    assert set(resources) == {"other"}


def test_a_cluster_is_gone_when_it_is_not_in_the_cloud_and_one_of_elsewhere_never_is():
    user = {"user": {"exec": {"command": "gke-gcloud-auth-plugin"}}}
    name = destroying.cluster(json.dumps({"current-context": "dev", "users": [user]}))
    assert name == "dev"
    there = {"a": {"type": destroying.CLUSTER, "inputs": {"name": "dev"}}}
    assert not destroying.is_gone(name, there)
    assert destroying.is_gone(name, {})
    elsewhere = destroying.cluster(json.dumps({"current-context": "dev", "users": [{"user": {}}]}))
    assert not destroying.is_gone(elsewhere, {})
