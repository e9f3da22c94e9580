"""What the modules render for Knative, judged by Knative's own code, as its webhook does: no API server is asked."""

import json
import subprocess

import go_programs
import pytest

from penstock import Program, Service
from penstock.kubernetes import Machine, ScaleOn, knative
from penstock.kubernetes.serving import ServingArgs

VARIANTS = {
    "plain": {},
    "a key, and versions by a plan": {"keys": "serve-keys", "plan": "serve-plan-1"},
    "watched": {"observations": "observations/serve"},
    "on machines of its own": {"machine": Machine(accelerators=1, node_selector={"pool": "gpu"})},
}


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=list(VARIANTS))
def service(request):
    """The Knative Service of an endpoint."""
    args = {"scale_on": ScaleOn.KNATIVE, "namespace": "penstock", **request.param}
    asked = Service(Program.SERVER, [], port=8501, min_replicas=0, max_replicas=9, idle_seconds=7200)
    servers = ServingArgs("dev", f"registry.example.com/serving@sha256:{'a' * 64}", "artifacts", **args)
    made = knative.objects("serve", asked, ["--model", "/artifacts/m"], servers)["knative"]
    return {**made, "metadata": {**made["metadata"], "namespace": "penstock"}}


def judged(service, *settings):
    """What Knative says of it where its features are set so: one answer for each of the `settings`."""
    asked = "".join(json.dumps({"features": features, "service": service}) + "\n" for features in settings)
    command = [go_programs.program("knative-judge")]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def within(made, asked):
    """Of what Knative made of an object, the part that was asked for; lists are as long as they are."""
    if isinstance(asked, dict):
        return {key: within(made.get(key), value) for key, value in asked.items()}
    if isinstance(asked, list) and len(made) == len(asked):
        return [within(one, other) for one, other in zip(made, asked, strict=True)]
    return made


def test_knative_takes_it_with_the_features_that_it_asks_for_and_changes_nothing_of_it(service):
    features = knative.features(service["spec"]["template"]["spec"])
    (answer,) = judged(service, dict.fromkeys(features, "enabled"))
    assert answer["refused"] == ""
    # What it changed would be an update in every `up`.
    assert within(answer["made"], service) == service


def test_it_asks_for_no_feature_that_it_does_not_need(service):
    features = knative.features(service["spec"]["template"]["spec"])
    without = [{each: "disabled" if each == off else "enabled" for each in features} for off in features]
    answers = judged(service, *without)
    assert len(answers) == len(features) >= 2
    assert [off for off, answer in zip(features, answers, strict=True) if not answer["refused"]] == []


def test_the_judge_finds_what_is_wrong(service):
    features = dict.fromkeys(knative.features(service["spec"]["template"]["spec"]), "enabled")
    wrong = json.loads(json.dumps(service))
    wrong["spec"]["template"]["metadata"]["annotations"]["autoscaling.knative.dev/scale-down-delay"] = "2h"
    wrong["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": 5}}}
    (answer,) = judged(wrong, features)
    assert "scale-down-delay" in answer["refused"]
    assert "must not set the field(s): spec.template.spec.containers[0].lifecycle" in answer["refused"]
