"""Which model answers: the one line of a stack's configuration that says so, and what changes by it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi import automation

from penstock.command.cost import google_environment
from penstock.command.project import Project
from penstock.command.stack import Deployed
from penstock.command.state import State
from penstock.errors import PenstockError, ServiceFailed
from penstock.gcp import pins, promotion
from penstock.gcp.storage_api import Storage
from penstock.local import plan, versions
from penstock.local.spec import read_json

MODEL = "gcp.model"


@dataclass(frozen=True)
class Change:
    """One line of configuration."""

    key: str
    value: str
    before: str | None
    says: str
    """Which model it is."""


def to_version(project: Project, state: State, version: str) -> Change:
    """All traffic to a version of an endpoint on this machine: `latest`, `previous`, a number, or a digest's digits.

    Raises PenstockError for a version that the endpoint does not know.
    """
    known = _known(state, _folder(state))
    (number,) = versions.resolved({version: 1}, known)
    (chosen,) = (each for each in known if str(each["number"]) == number)
    before = project.setting(state.stack, "traffic")
    return Change("traffic", version, before, f"version {number}, {chosen['digest']}, answers everything")


def to_version_before(project: Project, state: State) -> Change:
    """All traffic to the version that answered before the one that the configuration names, by its number."""
    folder = _folder(state)
    known, served = _known(state, folder), plan.served(folder)
    if traffic := project.setting(state.stack, "traffic"):
        weights = json.loads(traffic) if traffic.lstrip().startswith("{") else {traffic: 1}
        try:
            configured = versions.leader(versions.resolved(weights, known))
        except ServiceFailed:
            configured = traffic
        # One that is nobody's, or that `up` refused, never answered: before it is what answers still.
        served = versions.led(served, configured)
    return to_version(project, state, _last_but_one(state.stack, served))


def to_digest(project: Project, stack: str, digest: str) -> Change:
    """Another model for a stack that serves what another one has made; it must be in the store that is named."""
    environment = google_environment(project, stack)
    if environment.model is None or environment.model_store is None:
        raise PenstockError(f"stack {stack} makes its models itself: it has no setting `{MODEL}`")
    folder = promotion.find(Storage(), environment.model_store, digest)
    return Change(
        MODEL, digest, environment.model, f"gs://{environment.model_store}/{folder} is copied here and answers"
    )


def before(deployed: Deployed, current: str | None) -> str:
    """The model that the stack served before this one, by the history of its updates."""
    project = deployed.project.settings["name"]
    served: list[str] = []
    for update in reversed(deployed.automation.history()):
        entry: Any = update.config.get(f"{project}:gcp")
        model = _model(entry)
        if update.result == "succeeded" and model:
            served = versions.led(served, model)
    return _last_but_one(deployed.name, versions.led(served, current) if current else served)


def preview(deployed: Deployed) -> dict[str, str]:
    """What `up` would do: the operation by `type name`, for everything that does not stay as it is."""
    found: dict[str, str] = {}

    def hear(event: automation.EngineEvent) -> None:
        if event.resource_pre_event is not None:
            step = event.resource_pre_event.metadata
            if step.op != automation.OpType.SAME:
                found[f"{step.type} {step.urn.rpartition('::')[2]}"] = step.op.value

    try:
        deployed.automation.preview(on_event=hear)
    except automation.CommandError as exc:
        raise PenstockError(f"the preview failed:\n{exc}") from exc
    return found


def refused(project: Project, stack: str, steps: Mapping[str, str]) -> list[str]:
    """Why a plan must not be carried out: on Google Cloud, what holds data is not replaced unasked."""
    if project.setting(stack, "platform") != "gcp":
        return []
    return pins.refused(steps, google_environment(project, stack).approve_replacement)


def _folder(state: State) -> Path:
    if state.service is None:
        raise PenstockError(
            f"stack {state.stack} has no endpoint on this machine: there, and on Google Cloud in a stack with "
            f"`{MODEL}`, one line says which model answers"
        )
    return Path(state.service["folder"])


def _known(state: State, folder: Path) -> list[versions.Version]:
    known: list[versions.Version] = read_json(folder / "versions.json") or []
    if not known:
        raise PenstockError(f"the endpoint of stack {state.stack} has served no model yet")
    return known


def _last_but_one(stack: str, served: list[str]) -> str:
    if len(served) < 2:
        present = f"model {served[-1]}" if served else "the present model"
        raise PenstockError(
            f"nothing answered in stack {stack} before {present}: `penstock promote` takes another by its name"
        )
    return served[-2]


def _model(entry: Any) -> str | None:
    try:
        return json.loads(entry.value).get("model") if entry is not None else None
    except (ValueError, AttributeError):
        return None
