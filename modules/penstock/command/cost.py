"""What a stack costs by its configuration, as its preview prints it, and how far its budget is spent."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from penstock.command.project import Project
from penstock.errors import PenstockError
from penstock.gcp import guarding, prices
from penstock.gcp.environment import Environment
from penstock.gcp.storage_api import Storage
from penstock.kubernetes import platform as kubernetes
from penstock.local import platform as local


def estimated(project: Project, stack: str) -> Mapping[str, Any]:
    """The estimate; nothing is asked of anybody."""
    platform = project.setting(stack, "platform") or "local"
    if platform == "local":
        return local.COST
    if platform == "cluster":
        return kubernetes.COST
    environment = google_environment(project, stack)
    return prices.cost(environment, environment.run_hours, environment.prices)


def guarded(project: Project, stack: str) -> str:
    """How far the guard of a Google Cloud stack's budget is, in words; empty where there is none."""
    if project.setting(stack, "platform") != "gcp":
        return ""
    environment = google_environment(project, stack)
    if environment.budget is None:
        return ""
    try:
        state = Storage().json(guarding.records(environment.project, f"penstock-{stack}"), guarding.STATE)
    except PenstockError as exc:
        return f"not known: {exc}"
    return "nothing has been told yet" if state is None else guarding.in_words(state)


def google_environment(project: Project, stack: str) -> Environment:
    """The Google Cloud environment that a stack's configuration describes."""
    try:
        return Environment(**json.loads(project.setting(stack, "gcp") or "{}"))
    except ValidationError as exc:
        raise PenstockError(f"setting 'gcp' of stack {stack} does not describe an environment: {exc}") from exc
