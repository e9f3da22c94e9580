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
    file, register = folder / "plan.json", folder / "versions.json"
    before = read_json(file)
    known = versions.arrived(read_json(register) or [], props["path"], props["digest"])
    traffic, rollout = props.get("traffic"), props.get("rollout")
    revision = uuid.uuid4().hex
    plan = {
        "revision": revision,
        "name": props["model_name"],
        "versions": {str(v["number"]): {"path": v["path"], "digest": v["digest"]} for v in known},
        "latest": str(known[-1]["number"]),
        "traffic": versions.resolved(traffic, known) if traffic else None,
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
