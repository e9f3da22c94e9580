"""docs/skew.md does what it says: its commands are run and its answers are of the shape that it shows."""

import json
import random
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock_serving.skew import observing
from penstock_serving.skew.comparison import MATTERS, Rules
from penstock_serving.skew.monitor import Monitoring
from penstock_serving.skew.report import NAMED_FROM_ROWS
from penstock_serving.skew.training import LONGEST

PAGE = (Path(__file__).parents[2] / "docs" / "skew.md").read_text(encoding="utf-8")
BLOCKS = [body for _, body in re.findall(r"```(sh|json)\n(.*?)```", PAGE, re.DOTALL)]
SERVE, CURL, ANSWER, JUDGE, *_ = BLOCKS


def worded(value: object) -> object:
    """`value` with every number in its texts made alike."""
    return json.loads(re.sub(r"[\d.:]*\d", "0", json.dumps(value)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("observations")


@pytest.fixture(scope="module")
def server(serve, folder):
    """The page's server, on a free port, to which kilometres were posted twice."""
    arguments = shlex.split(SERVE)[3:]
    assert arguments[:6] == ["--model", "MODEL", "--name", "flights", "--port", "8501"]
    server = serve("flights", *[str(folder) if word == "observations" else word for word in arguments[6:]])
    server.wait_until_ready()
    chance = random.Random(1)
    for count in (1, 2):
        rows = [
            {
                **{name: chance.choice(["UA", "B6", "EWR"]) for name in ("carrier", "origin", "dest", "engine")},
                **{"temp": chance.uniform(0, 100), "seats": chance.randint(0, 100), "month": chance.randint(1, 12)},
                "distance": 1.609 * chance.uniform(0, 100),
            }
            for _ in range(400)
        ]
        assert server.predict({"instances": rows}).status_code == 200
        deadline = time.monotonic() + 60
        while len(list(folder.glob("*/manifest.json"))) < count:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return server


def test_the_curl_of_the_page_is_answered_as_shown(server):
    deadline = time.monotonic() + 20
    while (found := server.client.get("/" + CURL.strip().split("/", 3)[3]).json())["status"] != "skew":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    expected = json.loads(ANSWER)
    assert worded({key: found[key] for key in expected}) == worded(expected)


def test_the_command_for_continuous_integration_says_the_same(server, folder):
    python, *arguments = shlex.split(JUDGE)
    assert python == "serving/.venv/bin/python"
    places = {"MODEL": str(server.model), "observations": str(folder)}
    command = [sys.executable, *[places.get(word, word) for word in arguments]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, worded(done.stdout.strip())) == (1, worded(json.loads(ANSWER)["said"][0]))


def test_the_figures_of_the_page_are_those_of_the_code():
    settings, rules = Monitoring(), Rules()
    for measure, threshold in MATTERS.items():
        assert re.search(rf"^\| `{measure}` \|.*\| {threshold} \|$", PAGE, re.MULTILINE), measure
    for said in (
        f"`--window-seconds` ({settings.window_seconds:.0f})",
        f"`--kept-windows` ({settings.kept_windows})",
        f"`--windows-in-a-row` ({rules.windows_in_a_row})",
        f"`--minimum-rows` ({rules.minimum_rows})",
        f"floor with a probability of {rules.chance}",
        f"({(observing.WAITING_BLOCKS + 1) * observing.BLOCK_ROWS:,} or {observing.WAITING_BYTES // 2**20} MiB;",
        f"categories of a column in a window ({observing.MOST_CATEGORIES:,})",
        f"characters of a category ({LONGEST})",
        f"at least {NAMED_FROM_ROWS} rows have it",
    ):
        assert said in PAGE, said
