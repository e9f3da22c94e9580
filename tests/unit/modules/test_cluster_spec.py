import json

from hypothesis import given
from hypothesis import strategies as st

from penstock import cluster_spec

COUNTS = st.fixed_dictionaries(
    {}, optional={role: st.integers(0, 5) for role in ("chief", "ps", "worker", "evaluator", "trial")}
)


def address(role, index):
    return f"{role}-{index}.example:2222"


@given(COUNTS)
def test_every_member_gets_the_same_cluster_and_its_own_task(replicas):
    configs = []
    for role, index in cluster_spec.members(replicas):
        config = json.loads(cluster_spec.tf_config(replicas, address, role, index) or "")
        assert config["task"] == {"type": role, "index": index}
        assert config["cluster"][role][index] == address(role, index)
        configs.append(config["cluster"])
    assert all(cluster == configs[0] for cluster in configs)
    assert not configs or sum(len(addresses) for addresses in configs[0].values()) == len(configs)


@given(COUNTS)
def test_evaluators_and_trials_stay_outside_the_cluster(replicas):
    for role in ("evaluator", "trial"):
        assert cluster_spec.tf_config(replicas, address, role, 0) is None
        assert role not in {member for member, _ in cluster_spec.members(replicas)}


def test_processes_that_work_on_their_own_get_no_cluster():
    assert cluster_spec.members({"chief": 1, "trial": 3}) == []
    assert cluster_spec.tf_config({"chief": 1, "trial": 3}, address, "chief", 0) is None
