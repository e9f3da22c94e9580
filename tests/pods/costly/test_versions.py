"""Two models behind one URL of a cluster, by weights."""

import json
import re

from tests.pods.conftest import ask


def test_a_second_model_takes_the_share_that_it_is_given_and_the_first_one_the_rest(served, api):
    first = served.outputs()["model_digest"]
    rows = [[row] for row in _rows(served)]
    served.configure(epochs=2, traffic={"latest": 50, "previous": 50})
    served.run("up")
    second = served.outputs()["model_digest"]
    assert second != first
    found = {ask(api, served, served.outputs()["endpoint"], row)["model"] for row in rows}
    own = ("--stack", served.stack)
    split = served.operate("status", *own)
    checked = served.operate("verify", *own)
    served.configure(epochs=2, traffic={"previous": 100})
    served.run("up")
    back = {ask(api, served, served.outputs()["endpoint"], row)["model"] for row in rows[:3]}
    went_back = served.operate("verify", *own)
    served.configure()
    served.run("up")
    assert found == {first, second}
    assert back == {first}
    for number, digest in (("1", first), ("2", second)):
        assert f"version {number}  {digest.removeprefix('sha256:')[:12]}  50%" in split
    # Each check of what is served is skipped or passes; none fails, whichever of the two has attested.
    assert re.search(r"\b1[12] passed, [12] skipped", checked), checked
    assert "11 passed, 2 skipped" in went_back, went_back


def _rows(project):
    return json.loads((project.model() / "samples.json").read_text())["instances"]
