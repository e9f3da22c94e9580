"""The project's own Google Cloud stacks on the real engine."""

import os
from collections import defaultdict
from pathlib import Path

import pytest

INVENTORIES = Path(__file__).parent / "inventories"
REGENERATE = "PENSTOCK_INVENTORIES=write .venv/bin/python -m pytest -q tests/google/test_stacks.py -k inventory"


def inventory(steps):
    """What would exist: by type, how many and which."""
    names = defaultdict(list)
    for each, operation in steps.items():
        assert operation == "create", each
        token, _, name = each.partition(" ")
        names[token].append(name)
    head = f"{len(steps)} resources"
    rows = [f"{len(found)} {token}: {', '.join(sorted(found))}" for token, found in sorted(names.items())]
    return "\n".join([head, *rows, ""])


@pytest.mark.parametrize("name", ["dev", "staging", "prod"])
def test_the_inventory_of_an_environment_is_the_one_recorded(name, make_environment):
    found = inventory(make_environment(name).steps())
    file = INVENTORIES / f"{name}.txt"
    if os.environ.get("PENSTOCK_INVENTORIES") == "write":
        file.write_text(found)
    assert found == file.read_text(), f"if this is what is wanted: {REGENERATE}"
