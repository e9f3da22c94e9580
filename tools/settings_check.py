"""Reads a stack's configuration as Pulumi would and checks it, so that a typo is told before anything starts."""

import sys
from pathlib import Path

from common import PROJECT

from penstock.command.project import Project

sys.path.insert(0, str(PROJECT / "stacks"))
from settings import Settings


def check(stack: str) -> Settings:
    """The stack's settings; raises SettingsError for what is wrong with them."""
    return Settings.from_config(Project(PROJECT).config(config_file(stack)))


def config_file(stack: str) -> Path:
    """Where the stack's configuration lies."""
    return Project(PROJECT).config_file(stack)
