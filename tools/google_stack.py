"""What `make up` and `make down` do besides on Google Cloud: a verdict before, a guarded plan, a receipt after."""

import json
from collections.abc import Callable
from typing import Any

from common import ToolError, say
from settings_check import Settings

from penstock.errors import PenstockError
from penstock.gcp import pins, sweep, verdict
from penstock.gcp.environment import Environment
from penstock.gcp.prices import CLUSTER


def chosen(settings: Settings) -> Environment | None:
    """The environment of a stack on Google Cloud; None for any other stack."""
    return settings.gcp if settings.platform == "gcp" else None


def variables(environment: Environment | None) -> dict[str, str]:
    """What the engine is given besides: its plugin's project is the stack's, whatever `gcloud` is set to."""
    return {"GOOGLE_PROJECT": environment.project} if environment else {}


def asked(environment: Environment, captured: Callable[..., str], keyed: bool = False) -> list[str]:
    """Why the project cannot take it, in words; what else is to be said of it is said. `keyed`: as the verdict's."""
    try:
        wrong, remarks = verdict.verdict(environment, keyed, running=_has_cluster(captured("stack", "export")))
    except PenstockError as exc:
        say(f"not asked whether {environment.project} can take it: {exc}")
        return []
    for remark in remarks:
        say(f"{environment.project}: {remark}")
    return [f"{environment.project} cannot take it: {each}" for each in wrong]


def before_up(environment: Environment, captured: Callable[..., str], keyed: bool = False) -> None:
    """Raises ToolError for what the project cannot give, and for a plan that replaces what must not be replaced."""
    wrong = asked(environment, captured, keyed)
    if wrong:
        raise ToolError("\n".join(wrong))
    refused = pins.refused(plan(captured("preview", "--json")), environment.approve_replacement)
    if refused:
        raise ToolError("\n".join(refused))


def _has_cluster(exported: str) -> bool:
    """Whether an exported stack has machines already."""
    return any(each["type"] == CLUSTER for each in _resources(exported))


def _resources(exported: str) -> list[dict[str, Any]]:
    return json.loads(exported)["deployment"].get("resources") or []


def before_down(exported: str) -> None:
    """Raises ToolError for an exported stack that protects something: the engine would name one thing at a time."""
    kept = sorted(each["urn"].rpartition("::")[2] for each in _resources(exported) if each.get("protect"))
    if kept:
        raise ToolError(
            f"nothing was removed, as the stack protects {', '.join(kept)}: to remove all of it, name each in the "
            "setting `gcp.approve_replacement`, then `make up`, then `make down`"
        )


def plan(preview: str) -> dict[str, str]:
    """The operation by `type name` that a preview tells of."""
    found: dict[str, str] = {}
    for step in json.loads(preview[preview.index("{") :])["steps"]:
        _, _, types, name = step["urn"].split("::")
        if step["op"] != "same":
            found[f"{types.rpartition('$')[2]} {name}"] = step["op"]
    return found


def after_down(stack: str, environment: Environment, finished: bool = True) -> None:
    """Tells what the project still has of the stack; `finished`: whether all that the stack knows of is removed."""
    try:
        beam = environment.trains and environment.beam == "dataflow"
        left = sweep.left(environment.project, environment.region, environment.places, f"penstock-{stack}", beam)
    except PenstockError as exc:
        say(f"not asked what is left in {environment.project}: {exc}")
        return
    say(f"{environment.project}: {sweep.receipt(left, finished)}")
