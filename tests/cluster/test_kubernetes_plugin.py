"""The kubernetes plugin, asked by the real engine: the stand-in must do what pulumi-kubernetes is documented to do."""

import json
import os
import re
import subprocess
import threading
from pathlib import Path

import pulumi_cli
import pytest

from tests.cluster.conftest import PODS, end, eventually, image

CHECKOUT = Path(__file__).resolve().parents[2]
HEAD = """
import pulumi, pulumi_kubernetes as k8s
from pulumi_kubernetes.apiextensions import CustomResource
def pods(image, **metadata):
    container = {"name": "main", "image": image, "resources": {"requests": {"cpu": "10m"}}}
    return {"metadata": metadata, "spec": {"restartPolicy": "Never", "containers": [container]}}
"""


class Program:
    """A small Pulumi program with a stack of its own, on the namespace of the test."""

    def __init__(self, folder: Path, namespace: str, environment: dict[str, str]) -> None:
        self._folder, self.environment = folder, environment
        runtime = {"name": "python", "options": {"virtualenv": str(CHECKOUT / ".venv")}}
        (folder / "Pulumi.yaml").write_text(json.dumps({"name": "small", "runtime": runtime}))
        self.body = ""
        self.run("stack", "init", "test")
        self.run("config", "set", "kubernetes:namespace", namespace)

    def run(self, *arguments: str, expected: int = 0) -> str:
        """What the engine says to a command."""
        (self._folder / "__main__.py").write_text(HEAD + self.body)
        command = ["pulumi", *arguments, "--non-interactive"]
        done = subprocess.run(
            command, cwd=self._folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == expected or (expected and done.returncode), done.stdout + done.stderr
        return done.stdout + done.stderr

    def up(self, expected: int = 0) -> str:
        """Deploys."""
        return self.run("up", "--yes", "--skip-preview", "--stack", "test", expected=expected)


@pytest.fixture
def program(tmp_path, namespace, plane, plugins):
    """A program that has not been deployed; what it made is destroyed at the end."""
    cli = pulumi_cli.find()
    assert cli is not None
    own = {
        "PATH": os.pathsep.join([str(plugins), str(cli.folder), os.environ["PATH"]]),
        "KUBECONFIG": str(plane.kubeconfig),
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": f"file://{tmp_path}",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    folder = tmp_path / "program"
    folder.mkdir()
    made = Program(folder, namespace, {**os.environ, **own})
    yield made
    made.run("destroy", "--yes", "--skip-preview", "--stack", "test")


def named(api, namespace, collection):
    return [each["metadata"]["name"] for each in api.items(f"/api/v1/namespaces/{namespace}/{collection}")]


def test_a_name_is_made_up_where_none_is_given_and_kept_and_another_made_up_to_replace_it(program, api, namespace):
    program.body = 'k8s.core.v1.ConfigMap("words", data={"a": "1"})\n'
    program.up()
    (first,) = [name for name in named(api, namespace, "configmaps") if name.startswith("words-")]
    assert re.fullmatch("words-[0-9a-f]{8}", first)
    assert "1 unchanged" in program.up() or "2 unchanged" in program.up()
    program.body = 'k8s.core.v1.ConfigMap("words", data={"a": "2"})\n'
    program.up()
    (second,) = [name for name in named(api, namespace, "configmaps") if name.startswith("words-")]
    assert second != first


def test_a_preview_makes_nothing_and_has_the_cluster_judge_what_it_would_make(program, api, namespace):
    program.body = 'k8s.core.v1.Service("good", metadata={"name": "good"}, spec={"ports": [{"port": 80}]})\n'
    program.run("preview", "--stack", "test")
    assert "good" not in named(api, namespace, "services")
    program.body = 'k8s.core.v1.Service("bad", metadata={"name": "bad"}, spec={"ports": [{"port": 99999}]})\n'
    assert "spec.ports[0].port: Invalid value: 99999" in program.run("preview", "--stack", "test", expected=1)


def test_what_is_there_already_is_not_taken_over_unless_it_is_asked_for(program, api, namespace):
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": {"a": "foreign"}}
    api.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=foreign)
    program.body = 'k8s.core.v1.ConfigMap("mine", metadata={"name": "shared"}, data={"b": "mine"})\n'
    assert "already exists" in program.up(expected=1)
    asked = 'own = k8s.Provider("own", upsert_existing_objects=True)\n'
    program.body = asked + program.body.replace('"mine"})', '"mine"}, opts=pulumi.ResourceOptions(provider=own))')
    # An explicit provider has its own configuration.
    program.body = program.body.replace("upsert_existing", f'namespace="{namespace}", upsert_existing')
    program.up()
    found = api.get(f"/api/v1/namespaces/{namespace}/configmaps/shared")
    assert found["data"] == {"a": "foreign", "b": "mine"}


def test_a_job_is_waited_for_and_one_that_fails_fails_the_run_with_its_reason(program, api, namespace):
    program.body = f'k8s.batch.v1.Job("work", spec={{"backoffLimit": 0, "template": pods("{image("work")}")}})\n'

    def play(code):
        pod = eventually(lambda: [p for p in api.items(PODS.format(namespace)) if running(p)], "its pod runs")[0]
        end(api, pod, code, "no such file")

    def running(pod):
        return pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")

    for code in (0, 7):
        player = threading.Thread(target=play, args=(code,))
        player.start()
        output = program.up(expected=code)
        player.join()
        if code:
            assert "BackoffLimitExceeded" in output
            assert "[Error] no such file" in output
        program.run("destroy", "--yes", "--skip-preview", "--stack", "test")
        assert api.items(PODS.format(namespace)) == []


def test_a_deployment_is_waited_for_as_long_as_it_is_said_and_its_pods_are_asked_why(program, api, namespace):
    program.body = f"""
selector = {{"app": "web"}}
k8s.apps.v1.Deployment(
    "web",
    metadata={{"name": "web", "annotations": {{"pulumi.com/timeoutSeconds": "5"}}}},
    spec={{"selector": {{"matchLabels": selector}}, "template": {{
        "metadata": {{"labels": selector}},
        "spec": {{"containers": [{{"name": "main", "image": "{image("missing")}"}}]}},
    }}}},
)
"""
    output = program.up(expected=1)
    assert "Minimum number of live Pods was not attained" in output
    assert "[ImagePullBackOff] Back-off pulling image" in output, output
    # It is in the state all the same, so the next run puts it right.
    program.body = program.body.replace("/missing@", "/there@")
    assert "1 updated" in program.up()


def test_an_annotation_says_what_to_wait_for(program, api, namespace):
    program.body = f"""
one = {{"name": "one", "template": {{"spec": {{"template": pods("{image("one")}")}}}}}}
CustomResource(
    "set", api_version="jobset.x-k8s.io/v1alpha2", kind="JobSet",
    metadata={{"name": "set", "annotations": {{"pulumi.com/waitFor": "condition=Completed"}}}},
    spec={{"replicatedJobs": [one]}},
)
"""
    deploying = threading.Thread(target=program.up)
    deploying.start()
    pods = eventually(lambda: [p for p in api.items(PODS.format(namespace)) if p["status"].get("podIP")], "a pod runs")
    assert deploying.is_alive()
    end(api, pods[0], 0)
    deploying.join(timeout=60)
    assert not deploying.is_alive()
    conditions = api.get(f"/apis/jobset.x-k8s.io/v1alpha2/namespaces/{namespace}/jobsets/set")["status"]["conditions"]
    assert ("Completed", "True") in [(each["type"], each["status"]) for each in conditions]


def test_a_kind_that_the_cluster_does_not_know_is_told(program):
    program.body = 'CustomResource("x", api_version="keda.sh/v1alpha1", kind="ScaledObject", spec={"a": 1})\n'
    assert 'no matches for kind "ScaledObject" in version "keda.sh/v1alpha1"' in program.up(expected=1)
