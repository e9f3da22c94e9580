import asyncio
from typing import Any

import pulumi
import pytest

from penstock.arguments import made, native
from penstock.errors import PenstockError
from penstock.gcp.platform import GcpPlatform
from penstock.local import LocalPlatform

IMAGE = f"registry.example.com/trainer@sha256:{'a' * 64}"
GCP: dict[str, Any] = {"project": "acme-dev", "owner": "me", "trainer_image": IMAGE, "server_image": IMAGE}


@pytest.fixture(autouse=True)
def _stack(monkeypatch):
    monkeypatch.setattr(pulumi, "get_stack", lambda: "Dev")


def test_whole_numbers_are_whole_again_wherever_they_stand_and_nothing_else_changes():
    here = object()
    said = {
        "epochs": 2.0,
        "tuning": {"trials": 8.0},
        "limits": [1.0, 1.5],
        "share": 0.001,
        "on": True,
        "platform": here,
    }
    found = native(said)
    assert found == said
    assert [type(found["epochs"]), type(found["tuning"]["trials"]), type(found["limits"][0])] == [int, int, int]
    assert found["on"] is True
    assert found["platform"] is here


def test_a_platform_of_python_s_own_is_taken_as_it_is():
    platform = LocalPlatform(stack="dev")
    assert made(platform, "late") is platform


def test_words_make_the_platform_that_they_name(tmp_path):
    assert isinstance(made({"local": {"project": str(tmp_path)}}, "late"), LocalPlatform)
    cloud = made({"gcp": GCP}, "late")
    assert isinstance(cloud, GcpPlatform)
    assert "usd_per_hour_peak" in cloud.estimated_cost()


@pytest.mark.parametrize("words", [{}, {"lokal": {}}, {"local": {}, "gcp": GCP}])
def test_words_that_name_no_single_platform_are_refused_with_those_there_are(words):
    with pytest.raises(PenstockError, match="expected one of local, kubernetes, gcp"):
        made(words, "late")


def test_what_is_wrong_in_the_words_is_told_by_its_place(tmp_path):
    with pytest.raises(PenstockError, match=r"'platform.gcp.callers.0'.*\n'platform.gcp.regoin'"):
        made({"gcp": {**GCP, "callers": ["allUsers"], "regoin": "us-east1"}}, "late")
    cluster: Any = {"kubeconfig": str(tmp_path / "absent"), "trainer_image": IMAGE, "serving_image": IMAGE}
    with pytest.raises(PenstockError, match="absent"):
        made({"kubernetes": cluster}, "late")


@pytest.mark.parametrize(
    ("named", "read"), [({"KUBECONFIG": "/there/config"}, "/there/config"), ({}, "/home/me/.kube/config")]
)
def test_a_cluster_is_reached_as_whoever_deploys_reaches_it_where_no_kubeconfig_is_named(named, read, monkeypatch):
    """So that the stack's file holds no path of one machine."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PenstockError, match=f"there is no kubeconfig {read}"):
        made({"kubernetes": {"trainer_image": IMAGE, "serving_image": IMAGE}}, "late")


def test_a_platform_that_is_not_known_yet_is_refused():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    later: Any = pulumi.Output.from_input({"local": {}})
    try:
        with pytest.raises(PenstockError, match="must be plain"):
            made(later, "late")
    finally:
        loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(loop)))
        asyncio.set_event_loop(None)
        loop.close()
