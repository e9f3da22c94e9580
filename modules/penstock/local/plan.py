"""What a local endpoint is told to serve: the file that its supervisor reads (docs/contracts.md)."""

import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock.local import versions
from penstock.local.spec import read_json, write_json


@contextmanager
def written(folder: Path, props: Mapping[str, Any]) -> Generator[str]:
    """Writes the plan and gives its revision; where the block fails, what was planned before is there again."""
    folder.mkdir(parents=True, exist_ok=True)
    file, register, history = folder / "plan.json", folder / "versions.json", folder / "served.json"
    before, led = read_json(file), served(folder)
    known = versions.arrived(read_json(register) or [], props["path"], props["digest"])
    traffic, rollout = props.get("traffic"), props.get("rollout")
    revision, latest = uuid.uuid4().hex, str(known[-1]["number"])
    weights = versions.resolved(traffic, known) if traffic else None
    plan = {
        "revision": revision,
        "name": props["model_name"],
        "versions": {str(v["number"]): {"path": v["path"], "digest": v["digest"]} for v in known},
        "latest": latest,
        "traffic": weights,
        "rollout": {**rollout, "step_requests": int(rollout["step_requests"])} if rollout else None,
        # Numbers of a resource's properties arrive as floats.
        "replicas": {
            "lowest": int(props["min_replicas"]),
            "highest": int(props["max_replicas"]),
            "idle_seconds": props["idle_seconds"],
        },
    }
    write_json(file, plan)
    try:
        yield revision
    except BaseException:
        if before is None:
            file.unlink()
        else:
            write_json(file, before)
        raise
    # Only now: a model that was refused has no number.
    write_json(register, known)
    if weights or not rollout or not led:
        led = versions.led(led, versions.leader(weights or {latest: 1}))
    write_json(history, led)


def served(folder: Path) -> list[str]:
    """The versions that answered until now, as `versions.led` tells them; a candidate on its way up is the last."""
    found: list[str] = read_json(folder / "served.json") or []
    plan: dict[str, Any] = read_json(folder / "plan.json") or {}
    if plan.get("rollout") and not plan.get("traffic"):
        # How far it has got is the supervisor's to know.
        rollout: dict[str, Any] = read_json(folder / "rollout.json") or {}
        for number in (rollout.get("stable"), rollout.get("candidate")):
            found = versions.led(found, number) if number else found
    return found
