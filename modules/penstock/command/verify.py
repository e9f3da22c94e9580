"""Runs the shipped checks (`penstock.verification`) against a deployed stack."""

import os
from pathlib import Path
from types import ModuleType

import pytest

from penstock import verification
from penstock.command.state import State
from penstock.kubernetes.api import as_file
from penstock.verification.target import Target

CHECKS = verification.__name__


def verify(state: State, host: str | None) -> int:
    """pytest's exit code; `host` is where the endpoint serves, in testinfra's words, where it is not this machine."""
    target = Target.of(state)
    hosts = [host] if host else target.hosts
    modules = ["test_processes"] if target.api is None else ["test_pods"]
    arguments = ["--pyargs", *(f"{CHECKS}.{module}" for module in (*modules, *(["test_endpoint"] if hosts else [])))]
    arguments += ["-v", "--no-header", "--tb=short", "-p", "no:cacheprovider", "--import-mode=importlib"]
    if hosts:
        arguments.append(f"--hosts={','.join(hosts)}")
    # What a project configures for its own tests is not for these.
    arguments += ["-c", os.devnull, f"--rootdir={Path(verification.__file__).parent}"]
    if target.api is None:
        return int(pytest.main(arguments, plugins=[_given(target)]))
    kubeconfig, context = state.cluster
    with as_file(kubeconfig) as file:
        arguments += [f"--kubeconfig={file}", *([f"--kube-context={context}"] if context else [])]
        return int(pytest.main(arguments, plugins=[_given(target)]))


def _given(target: Target) -> ModuleType:
    """A plugin with the fixture that the checks take."""
    plugin = ModuleType("penstock_target")

    @pytest.fixture(scope="session", name="target")
    def given() -> Target:
        return target

    vars(plugin)["target"] = given
    return plugin
