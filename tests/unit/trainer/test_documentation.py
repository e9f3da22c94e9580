"""docs/problem.md does what it says: its problem is carried through its commands on houses made up here."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from penstock_trainer.__main__ import main

PAGE = (Path(__file__).parents[3] / "docs" / "problem.md").read_text()
HOUSES, ONE_LAYER = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"python -m penstock_trainer (.*)", PAGE)
HIDDEN = '"hidden": Choice("64,32", "128,64")'


def write_houses(path):
    random = np.random.default_rng(0)
    asked, rooms = random.uniform(1e5, 1e6, 600), random.integers(1, 9, 600)
    sold = asked * random.uniform(0.9, 1.1, 600) + 1e5 * (rooms > 4)
    days = np.datetime64("2024-01-01") + np.arange(600) * 365 // 600
    lines = ["listed,asked,rooms,district,agent,sold_for"]
    for row, (day, price, room, sum_) in enumerate(zip(days, asked, rooms, sold, strict=True)):
        agent = f"agent {row}" if row % 7 else ""  # most of the test rows' agents are in no training row
        lines.append(f"{day},{price:.0f},{room},{'nsew'[room % 4]},{agent},{sum_:.0f}")
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "source",
    [HOUSES, ONE_LAYER + HOUSES.replace("model=wide_and_deep", "model=one_layer").replace(HIDDEN, '"units": 8')],
    ids=["bundled model", "own model"],
)
def test_the_page_s_problem_and_commands_end_in_a_model(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    Path("houses.py").write_text(source)
    write_houses(Path("houses.csv"))
    assert len(COMMANDS) == 3
    for command in COMMANDS:
        arguments = [str(next(Path().glob(a))) if a.endswith("*") else a for a in shlex.split(command)]
        assert main(arguments) == 0
    assert len(list(Path("artifacts/models").glob("[0-9a-f]*/manifest.json"))) == 1
