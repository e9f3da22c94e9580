"""README.md does what it says, on the running stack of these tests."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|json)\n(.*?)```", README, re.DOTALL)
CURL, ANSWER = next((body, BLOCKS[n + 1][1]) for n, (_, body) in enumerate(BLOCKS) if body.startswith("curl"))


def test_the_curl_of_the_readme_is_answered_with_one_probability(served):
    served.run("up")
    arguments = shlex.split(CURL.replace("127.0.0.1:8501", f"127.0.0.1:{served.port}"))
    done = subprocess.run([*arguments, "-s"], capture_output=True, text=True, check=True)
    (prediction,) = json.loads(done.stdout)["predictions"]
    assert json.loads(ANSWER).keys() == {"predictions"}
    assert 0 < prediction < 1


def test_the_stack_links_to_the_page_of_its_dataset(served):
    page = Path(served.outputs()["report"].removeprefix("file://")).read_text(encoding="utf-8")
    assert f"<td class=number>{served.outputs()['rows']['training']:,.0f}</td>" in page


@pytest.mark.parametrize("target", re.findall(r"^make (\S+)", README, re.MULTILINE))
def test_every_make_target_of_the_readme_is_there(target):
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
