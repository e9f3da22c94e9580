import re

import discovery
import pytest


def test_a_call_is_known_by_its_method_and_its_parameters():
    found = discovery.call("storage", "v1", "GET", "/storage/v1/b/acme/o/models%2Fx%2Fmanifest.json?alt=media")
    assert found.method == "storage.objects.get"
    assert found.parameters["object"] == "models/x/manifest.json"


@pytest.mark.parametrize(
    ("api", "version", "verb", "url", "body", "expected"),
    [
        ("storage", "v1", "GET", "/storage/v1/buckets/acme", None, "has no GET /storage/v1/buckets/acme"),
        ("storage", "v1", "GET", "/storage/v1/b/acme/o?prefx=models", None, "unknown parameter 'prefx'"),
        ("storage", "v1", "GET", "/storage/v1/b", None, "parameter 'project' is missing"),
        ("dataflow", "v1b3", "POST", "/v1b3/projects/p/locations/l/jobs", {"nmae": "x"}, "unknown field 'nmae'"),
        ("dataflow", "v1b3", "POST", "/v1b3/projects/p/locations/l/jobs", {"type": "JOB_BATCH"}, "is not one of"),
        ("container", "v1", "GET", "/v1/projects/p/locations/l/clusters/c?x=1", None, "unknown parameter 'x'"),
    ],
)
def test_what_google_does_not_offer_is_no_call(api, version, verb, url, body, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        discovery.call(api, version, verb, url, body)


def test_a_body_is_judged_in_its_depth():
    schemas = discovery.Schemas("compute", "v1")
    rule = {"name": "x", "allowed": [{"IPProtocol": "tcp", "ports": "22"}], "direction": "INWARD"}
    told = "\n".join(schemas.problems("Firewall", rule))
    assert "Firewall.allowed[0].ports: '22' is no list" in told
    assert "Firewall.direction: 'INWARD' is not one of" in told
    assert schemas.problems("Firewall", {"name": "x", "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}]}) == []
