"""A study in a database of one's own: its trials, which are pods, reach it and nothing else does."""

import json
from pathlib import Path

import pytest
from cluster import image, network

from penstock.kubernetes import verdict
from tests.cluster.conftest import JOB_SETS, PODS, eventually
from tests.pods.conftest import NODES, ended, volume
from tests.pods.test_policies import CONNECT, TRAINING, TUNING, address, start
from tests.unit.trainer import _postgresql

__all__ = ["start"]  # a fixture
STORAGE = "postgresql://"
OWN = "flow-tune-study-database"
ASK = "PGPASSWORD=$(cat /keys/password) exec psql -h 127.0.0.1 -U penstock postgres -Atc "


def test_trials_of_several_pods_share_a_study_in_postgresql(plane, api, served):
    with _postgresql.running(network.GATEWAY, plane.kubelets.beside()) as server:
        served.configure(tuning_storage=server.url, trial_processes=2, trials=4)
        served.hide("cluster.database_password", server.password)
        served.run("up")
        study = served.deployment()["flow-tune-study-result"]["outputs"]
        (job_set,) = [each for each in api.items(JOB_SETS.format(served.namespace)) if STORAGE in json.dumps(each)]
        processes = verdict.pods(api, served.namespace, job_set["metadata"]["name"])
        assert [pod["status"]["phase"] for pod in processes] == ["Succeeded"] * 2
        assert sum(study["counts"].values()) == 4, study
        assert server.password not in json.dumps(served.deployment())
    served.configure()
    served.run("up")


@pytest.fixture
def database(plane, api, served):
    """Sets the stack to make a study's database, of an image that runs Debian's PostgreSQL; what asks it a query."""
    (*_, programs) = [None, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    if programs is None:
        pytest.skip(
            "NOT TESTED: nodes run this machine's PostgreSQL, which is not installed: apt-get install postgresql"
        )
    name = plane.kubelets.load(image.bare("postgresql", str(programs)), *range(NODES))
    volume(
        api, "database", served.volume.with_name("database"), {"namespace": served.namespace, "name": f"data-{OWN}-0"}
    )
    served.configure(tuning_storage="postgresql", trial_processes=2, trials=6, cluster={"database_image": name})
    yield lambda query: plane.kubectl("exec", "-n", served.namespace, f"{OWN}-0", "--", "sh", "-c", f'{ASK} "{query}"')
    served.configure()
    served.run("up")


def test_trials_of_several_pods_share_a_study_in_the_postgresql_that_the_stack_makes(
    plane, api, served, start, database
):
    served.run("up")
    study = served.deployment()["flow-tune-study-result"]["outputs"]
    assert sum(study["counts"].values()) == 6, study
    (job_set,) = [each for each in api.items(JOB_SETS.format(served.namespace)) if STORAGE in json.dumps(each)]
    processes = verdict.pods(api, served.namespace, job_set["metadata"]["name"])
    assert [pod["status"]["phase"] for pod in processes] == ["Succeeded"] * 2
    assert database("select count(*) from trials where state = 'COMPLETE'").strip() == "6"
    holders = "select count(distinct value_json) from trial_user_attributes where key = 'holder'"
    assert database(holders).strip() == "2", "each of the two pods has run trials"

    where = {"database": (address(api, f"{PODS.format(served.namespace)}/{OWN}-0"), 5432)}
    for workload, reached in ((TUNING, True), (TRAINING, False), ("", False)):
        asking = start(CONNECT, workload, json.dumps(where), json.dumps({"database": reached}))
        assert json.loads(ended(api, asking)) == {"database": reached}, workload

    path = f"{PODS.format(served.namespace)}/{OWN}-0"
    before = api.get(path)["metadata"]["uid"]
    api.request("DELETE", path)

    def again():
        pod = api.get(path)
        return pod and pod["metadata"]["uid"] != before and pod["status"].get("containerStatuses", [{}])[0].get("ready")

    eventually(again, "the database is back", 90)
    assert database("select count(*) from trials").strip() == "6", "with all that it knew"
