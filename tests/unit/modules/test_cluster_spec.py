import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import cluster_spec
from penstock.errors import StrategyRefused

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


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("local",), {"chief": 1}),
        (("tpu", 0), {"chief": 1}),
        (("parameter-server",), {"chief": 1, "ps": 2, "worker": 2}),
        (("parameter-server", 3, 5), {"chief": 1, "ps": 3, "worker": 5}),
        (("multiworker", None, 4), {"chief": 1, "worker": 3}),
    ],
)
def test_a_strategy_has_these_roles(asked, expected):
    assert cluster_spec.roles(*asked) == expected


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (("tpu", 2), "2 parameter servers would have nothing to do"),
        (("tpu", None, 4), "drives all hosts of its slice from one process: 4 workers"),
        (("mirrored", None, 2), "uses the accelerators of one host from one process: 2 workers"),
        (("multiworker", 1, 2), "keeps a copy of the variables in every process"),
        (("multiworker", None, 1), "needs at least 2 workers"),
        (("parameter-server", 0, 2), "to train in one process use strategy 'local'"),
        (("horovod",), "use one of local, mirrored"),
    ],
)
def test_a_pairing_that_cannot_work_is_refused_with_the_reason(asked, reason):
    with pytest.raises(StrategyRefused, match=reason):
        cluster_spec.roles(*asked)


@pytest.mark.parametrize("asked", [("mixed_bfloat16", False), ("float32", True)])
def test_lower_precision_and_xla_are_refused_beside_parameter_servers_alone(asked):
    with pytest.raises(StrategyRefused, match="does not go with strategy 'parameter-server', whose steps"):
        cluster_spec.check_arithmetic("parameter-server", *asked)
    cluster_spec.check_arithmetic("mirrored", *asked)
    cluster_spec.check_arithmetic("parameter-server", "float32", False)
