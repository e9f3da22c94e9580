# pyright: basic
"""The endpoint, asked where it serves: on the machine, or in each of its pods; on Cloud Run, from here."""

import json

import pytest

from penstock.local.fingerprint import canonical_digest

TOLERANCE = 1e-6
"""By so much predictions may differ between one process and another: docs/contracts.md."""


@pytest.fixture(scope="module")
def attested(target, host):
    """What the endpoint says of the model that it serves."""
    answer = target.ask(host, f"/v1/models/{target.name}/attestation")
    assert answer["status"] == 200, answer
    return answer["body"]


@pytest.fixture(scope="module")
def folder(target, attested):
    """Where the model lies that is served."""
    return target.models[attested["digest"]]


def test_it_serves_a_model_that_the_stack_says(target, attested):
    assert attested["digest"] in target.models
    if len(target.models) == 1 and not target.split:
        assert attested["digest"] == target.state.outputs["model_digest"]


def test_the_model_leads_back_to_the_stack_s_dataset_and_study(target, attested):
    if attested["digest"] != target.state.outputs.get("model_digest"):
        pytest.skip("the traffic goes to a model of an earlier run, whose dataset the outputs do not name")
    outputs = target.state.outputs
    digests = {link["kind"]: link["digest"] for link in attested["chain"]}
    for kind in ("dataset", "study"):
        if f"{kind}_digest" in outputs:
            assert digests[kind] == outputs[f"{kind}_digest"]


def test_every_link_of_its_chain_is_sealed_with_the_digest_that_the_next_one_names(attested):
    digests = {link["digest"] for link in attested["chain"]}
    for link in attested["chain"]:
        assert canonical_digest(link["manifest"]) == link["digest"]
        assert set(link["manifest"]["inputs"].values()) <= digests


def test_what_is_sealed_is_what_lies_there(target, attested, folder, host):
    manifest = json.loads(target.content(host, f"{folder}/manifest.json"))
    assert canonical_digest(manifest) == attested["digest"]
    differ = [
        name
        for name, digest in manifest["files"].items()
        if f"sha256:{target.sha256(host, f'{folder}/{name}')}" != digest
    ]
    assert differ == []


def test_it_answers_raw_rows_as_the_trainer_did(target, folder, host):
    samples = json.loads(target.content(host, f"{folder}/samples.json"))
    answer = target.ask(host, f"/v1/models/{target.name}:predict", {"instances": samples["instances"]})
    assert answer["status"] == 200, answer
    assert answer["digest"] in target.models
    if len(target.models) == 1:
        assert answer["body"]["predictions"] == pytest.approx(samples["predictions"], abs=TOLERANCE)
    assert len(answer["body"]["predictions"]) == len(samples["predictions"])


def test_a_row_that_is_none_is_refused(target, host):
    answer = target.ask(host, f"/v1/models/{target.name}:predict", {"instances": [{"no such column": 1}]})
    assert answer["status"] == 400
    assert "no such column" in answer["body"]["error"]


def test_nobody_is_answered_without_a_token_where_there_are_tokens(target, host):
    if target.token_file is None:
        pytest.skip("the stack has no setting `token_file`: whoever reaches the port may ask")
    # Before Cloud Run's servers Google refuses, by 403 where nobody is named.
    assert target.ask(host, f"/v1/models/{target.name}", token=False)["status"] in (401, 403)
