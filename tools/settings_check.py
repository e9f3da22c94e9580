"""Reads a stack's configuration as Pulumi would and checks it, so that a typo is told before anything starts."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from common import PROJECT

sys.path.insert(0, str(PROJECT / "stacks"))
from settings import NAMESPACE, Settings


def check(stack: str) -> Settings:
    """The stack's settings; raises SettingsError for what is wrong with them."""
    declared = _load(PROJECT / "Pulumi.yaml").get("config") or {}
    config = {f"{NAMESPACE}{key}": _text(entry["default"]) for key, entry in declared.items()}
    own = _load(config_file(stack)).get("config") or {}
    # None of the settings is a secret.
    config |= {key: _text(value) for key, value in own.items() if not (isinstance(value, dict) and "secure" in value)}
    return Settings.from_config(config)


def config_file(stack: str) -> Path:
    """Where the stack's configuration lies."""
    return PROJECT / "stacks" / f"Pulumi.{stack}.yaml"


def _load(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
