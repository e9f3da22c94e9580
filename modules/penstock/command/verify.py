"""Runs the shipped checks (`penstock.verification`) against a deployed stack."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from urllib.parse import urlencode

import pytest

from penstock import verification
from penstock.command.cloud_run import identity_token
from penstock.command.state import State
from penstock.errors import PenstockError
from penstock.kubernetes.api import as_file
from penstock.verification.target import Target

CHECKS = verification.__name__
PODS = "kubectl://"
"""How testinfra names a pod, beginning."""


def verify(state: State, host: str | None) -> int:
    """pytest's exit code; `host` is where the endpoint serves, in testinfra's words, where it is not this machine."""
    target = Target.of(state)
    hosts = [host] if host else target.hosts
    modules = [target.checks, *(["test_endpoint"] if hosts else [])]
    arguments = ["--pyargs", *(f"{CHECKS}.{module}" for module in modules)]
    arguments += ["-v", "--no-header", "--tb=short", "-p", "no:cacheprovider", "--import-mode=importlib"]
    # What a project configures for its own tests is not for these.
    arguments += ["-c", os.devnull, f"--rootdir={Path(verification.__file__).parent}"]
    if target.cloud_run is not None:
        if host:
            raise PenstockError("an endpoint on Cloud Run is asked from here: run this where its network reaches")
        with identity_token() as file:
            return _checked(replace(target, token_file=file), hosts, arguments)
    if target.api is None:
        return _checked(target, hosts, arguments)
    kubeconfig, context = state.cluster
    with as_file(kubeconfig) as file:
        reached = urlencode({"kubeconfig": str(file), **({"context": context} if context else {})})
        return _checked(target, [f"{each}&{reached}" if each.startswith(PODS) else each for each in hosts], arguments)


def _checked(target: Target, hosts: Sequence[str], arguments: list[str]) -> int:
    named = [f"--hosts={','.join(hosts)}"] if hosts else []
    return int(pytest.main([*arguments, *named], plugins=[_given(target)]))


def _given(target: Target) -> ModuleType:
    """A plugin with the fixture that the checks take."""
    plugin = ModuleType("penstock_target")

    @pytest.fixture(scope="session", name="target")
    def given() -> Target:
        return target

    vars(plugin)["target"] = given
    return plugin
