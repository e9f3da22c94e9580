"""What the cluster does not let run, or what runs and is no good, is told by `up` before its timeout is over."""

import time

from tests.pods.conftest import ROLES, SMALL

TINY = {"cpus": 0.1, "memory_gib": 0.02}


def test_a_server_that_never_answers_fails_up_and_the_one_before_it_goes_on(served, api):
    path = f"/apis/apps/v1/namespaces/{served.namespace}/deployments/flow-serve-server"
    served.configure(cluster={"machines": {**dict.fromkeys(ROLES, SMALL), "server": TINY}, "timeout_minutes": 1.5})
    begin = time.monotonic()
    output = served.run("up", expected=1)
    assert time.monotonic() - begin < 150
    assert "flow-serve-server" in output
    assert "OOMKilled" in output or "CrashLoopBackOff" in output
    assert api.get(path)["status"]["availableReplicas"] == 1, "the one before it serves"
    served.configure()
    served.run("up")


def test_a_quota_that_is_full_is_what_the_timeout_says(served, plane):
    space = served.namespace
    patch = '{"spec": {"hard": {"pods": "1"}}}'
    plane.kubectl("patch", "resourcequota", "penstock", "--namespace", space, "--patch", patch)
    served.configure(epochs=2, cluster={"timeout_minutes": 0.5})
    output = served.run("up", expected=1)
    assert "was not done after 30 seconds" in output
    assert "exceeded quota: penstock" in output
    plane.kubectl("patch", "resourcequota", "penstock", "--namespace", space, "--patch", patch.replace('"1"', '"2000"'))
    served.configure(epochs=2)
    served.run("up")
