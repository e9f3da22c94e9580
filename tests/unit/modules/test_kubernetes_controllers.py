"""The controllers that are told to be installed are those that the tests run."""

import re
from pathlib import Path

import pytest

from penstock.gcp import workspace
from penstock.kubernetes import knative, preflight

PROJECT = Path(__file__).resolve().parents[3]
MODULES = {
    preflight.JOB_SET: ("kubernetes/jobset", "sigs.k8s.io/jobset"),
    preflight.QUEUE: ("kubernetes/kueue", "sigs.k8s.io/kueue"),
    preflight.SCALED: ("kubernetes/keda", "github.com/kedacore/keda/v2"),
    preflight.ROUTE: ("gatewayapi", "sigs.k8s.io/gateway-api"),
}


@pytest.mark.parametrize("kind", MODULES)
def test_a_controllers_version_is_the_one_in_the_module_that_pins_what_the_tests_run(kind):
    folder, module = MODULES[kind]
    pinned = (PROJECT / "tools" / folder / "go.mod").read_text()
    assert re.findall(rf"^(?:require)?\s*{re.escape(module)} v(\S+)", pinned, re.MULTILINE) == [
        preflight.VERSIONS[kind]
    ]
    assert f"/v{preflight.VERSIONS[kind]}/" in preflight.INSTALL[kind]


def test_knatives_release_is_the_one_that_the_module_belongs_to_which_pins_what_the_tests_run():
    pinned = (PROJECT / "tools/kubernetes/knative/go.mod").read_text()
    ((minor, patch),) = re.findall(r"^\s*knative\.dev/serving v0\.(\d+)\.(\d+)", pinned, re.MULTILINE)
    # Since 1.0, which was module 0.27, releases are numbered otherwise than modules.
    assert preflight.VERSIONS[knative.SERVICE] == f"1.{int(minor) - 27}.{patch}"
    assert f"/knative-v{preflight.VERSIONS[knative.SERVICE]}/" in preflight.INSTALL[knative.SERVICE]


def test_google_clusters_and_the_documentation_have_the_same_controller_of_job_sets():
    version = preflight.VERSIONS[preflight.JOB_SET]
    assert workspace.JOB_SET_CHART[1] == version
    page = (PROJECT / "docs/kubernetes.md").read_text(encoding="utf-8")
    assert f"the JobSet controller ({version.rpartition('.')[0]})" in page
    assert f"KEDA {preflight.VERSIONS[preflight.SCALED]} and Kueue {preflight.VERSIONS[preflight.QUEUE]}" in page
