"""The same `up` on a schedule: a new model serves only where it is better than the one that does."""


def test_a_retrained_model_that_is_not_better_leaves_the_endpoint_as_it_is(served):
    served.configure(promote="better")
    served.run("up")
    first = served.outputs()
    assert first["decision"]["promoted"]
    assert first["decision"]["reason"] in (
        "nothing serves yet: the candidate does from now on",
        "the candidate serves already",
    )
    assert served.get("/attestation")["digest"] == first["model_digest"]

    served.configure(promote="better", minimum_gain=0.4, epochs=2)
    told = served.run("up")
    second = served.outputs()
    decision = second["decision"]
    assert not decision["promoted"], told
    assert decision["rows"] == second["rows"]["test"]
    assert decision["serving"]["digest"] == first["model_digest"]
    assert decision["candidate"]["digest"] != first["model_digest"]
    assert second["model_digest"] == first["model_digest"]
    assert served.get("/attestation")["digest"] == first["model_digest"]
    assert "is not better by more than 0.4" in told
    served.configure()
    served.run("up")
    assert "decision" not in served.outputs()
