"""Two models behind one URL of a cluster, by weights."""

import json

from tests.pods.conftest import ask


def test_a_second_model_takes_the_share_that_it_is_given_and_the_first_one_the_rest(served, api):
    first = served.outputs()["model_digest"]
    rows = [[row] for row in _rows(served)]
    served.configure(epochs=2, traffic={"latest": 50, "previous": 50})
    served.run("up")
    second = served.outputs()["model_digest"]
    assert second != first
    found = {ask(api, served, served.outputs()["endpoint"], row)["model"] for row in rows}
    served.configure(epochs=2, traffic={"previous": 100})
    served.run("up")
    back = {ask(api, served, served.outputs()["endpoint"], row)["model"] for row in rows[:3]}
    served.configure()
    served.run("up")
    assert found == {first, second}
    assert back == {first}


def _rows(project):
    return json.loads((project.model() / "samples.json").read_text())["instances"]
