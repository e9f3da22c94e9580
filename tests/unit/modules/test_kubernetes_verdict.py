"""What is said of a job that waits, where no made-up node can show it."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from penstock.kubernetes import verdict

JOB_SET = {"metadata": {"name": "train"}, "spec": {"replicatedJobs": [{"template": {"spec": {"completions": 1}}}]}}


@pytest.mark.parametrize(("late", "told"), [(30, False), (90, True)])
def test_a_pod_that_nobody_ends_is_told_with_its_node(late, told):
    """As where a node is cut off: the pod has been told to leave, and stays."""
    due = (datetime.now(timezone.utc) - timedelta(seconds=late)).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {verdict.ROLE: "chief", verdict.INDEX: "0"}
    pod = {
        "metadata": {"name": "p", "namespace": "n", "labels": labels, "deletionTimestamp": due},
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Running"},
    }
    no_api: Any = None
    expected = f"; chief 0 was to leave node node-1 at {due}: if that is lost, `kubectl delete node node-1`"
    assert verdict.waiting(no_api, "n", JOB_SET, [pod]) == f"pods: 1 running{expected if told else ''}"
