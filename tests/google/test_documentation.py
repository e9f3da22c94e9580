"""What pages tell people to type for a stack is typed to the real CLI, as they show it, and does what they say.

The pages: README.md, gcp, gitops, kubernetes, policy and skew in docs/.
"""

import json
import re
import shlex
from typing import Any

import pytest
from settings import Settings

from tests.google.conftest import Stack
from tests.unit.modules.test_snippets import BLOCKS

SET = "pulumi config set "
SETTING = [(page, block) for page, block in BLOCKS if f"\n{SET}" in f"\n{block}"]
FIRST = {"cluster.database_password": ("tuning_storage", "postgresql://user@host:5432/studies")}
"""What a page says that a setting takes besides, by the setting."""
LEFT_OPEN = re.compile(r"sha256:(\.\.\.|DIGEST)")


def named(block):
    """By stack, what a block sets: the command's words, the key, the value, and whether it is a secret."""
    found = {}
    for line in LEFT_OPEN.sub(f"sha256:{'a' * 64}", block).splitlines():
        if line.startswith(SET):
            _, *command = shlex.split(line, comments=True)
            *words, key, value, _, stack = command
            found.setdefault(stack, []).append((command, key, value, "--secret" in words))
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory, schemas):
    """The project as it lies, with a cluster's images, and its stacks that the pages name."""
    made = Stack(tmp_path_factory.mktemp("pages"), schemas, "cluster")
    images = (f"{name}_image" for name in ("trainer", "serving"))
    made.environment(**{name: f"registry.example.com/{name}@sha256:{'0' * 64}" for name in images})
    for stack in {stack for _, block in SETTING for stack in named(block)}:
        made.run("stack", "init", stack)
    return made


@pytest.mark.parametrize(("page", "block"), SETTING, ids=[f"{page}: {block[:60]!r}" for page, block in SETTING])
def test_settings_that_a_page_shows_are_set_as_shown_and_hold(project, page, block):
    for stack, settings in named(block).items():
        for command, key, _, _ in settings:
            if key in FIRST:
                project.run("config", "set", *FIRST[key], "--stack", stack)
            project.run(*command)
        said = project.run("config", "--json", "--show-secrets", "--stack", stack)
        config = json.loads(said[said.index("{") :])
        checked = Settings.from_config({name: each["value"] for name, each in config.items()})
        for _, key, value, secret in settings:
            assert config[f"penstock:{key.partition('.')[0]}"]["secret"] or not secret
            found: Any = checked
            for part in re.findall(r"\w+", key):
                found = found[int(part)] if part.isdigit() else getattr(found, part)
            assert found == (value,) or found == type(found)(value)
