"""A pod that cannot run fails `up`, which says why in the pod's own words."""

import re


def test_an_image_that_does_not_exist_is_given_up_and_named(served):
    absent = f"registry.test/absent@sha256:{'0' * 64}"
    served.configure(cluster={"trainer_image": absent, "start_minutes": 0.1})
    output = served.run("up", expected=1)
    assert re.search("flow-preprocess-raw-result failed: chief 0 cannot start: (ErrImagePull|ImagePullBackOff)", output)
    assert absent in output


def test_a_program_that_takes_more_memory_than_it_may_have_is_told_with_its_exit_code(served):
    chief = {"cpus": 0.1, "memory_gib": 0.05}
    served.configure(cluster={"machines": {"chief": chief}, "start_minutes": 0.1})
    output = served.run("up", expected=1)
    assert "flow-preprocess-raw-result failed: chief 0 ended with exit code 137 (OOMKilled)" in output
