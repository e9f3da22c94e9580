"""A study in a database of one's own: its trials, which are pods, reach it and nothing else does."""

import json

from cluster import network

from penstock.kubernetes import verdict
from tests.cluster.conftest import JOB_SETS
from tests.unit.trainer import _postgresql

STORAGE = "postgresql://"


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
