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
from penstock.errors import PenstockError
from penstock.gcp import pins, promotion
from penstock.gcp.storage_api import Storage
from penstock.local import versions
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
    service = state.service
    if service is None:
        raise PenstockError(
            f"stack {state.stack} has no endpoint on this machine: there, and on Google Cloud in a stack with "
            f"`{MODEL}`, one line says which model answers"
        )
    known: list[versions.Version] = read_json(Path(service["folder"]) / "versions.json") or []
    if not known:
        raise PenstockError(f"the endpoint of stack {state.stack} has served no model yet")
    (number,) = versions.resolved({version: 1}, known)
    (chosen,) = (each for each in known if str(each["number"]) == number)
    before = project.setting(state.stack, "traffic")
    return Change("traffic", version, before, f"version {number}, {chosen['digest']}, answers everything")


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
    for update in deployed.automation.history():
        entry: Any = update.config.get(f"{project}:gcp")
        model = _model(entry)
        if update.result == "succeeded" and model and model != current:
            return model
    raise PenstockError(f"the history of stack {deployed.name} knows no model before {current}")


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


def refused(project: Project, stack: str, plan: Mapping[str, str]) -> list[str]:
    """Why a plan must not be carried out: on Google Cloud, what holds data is not replaced unasked."""
    if project.setting(stack, "platform") != "gcp":
        return []
    return pins.refused(plan, google_environment(project, stack).approve_replacement)


def _model(entry: Any) -> str | None:
    try:
        return json.loads(entry.value).get("model") if entry is not None else None
    except (ValueError, AttributeError):
        return None
