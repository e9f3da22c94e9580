"""README.md does what it says, on the running stack of these tests."""

import json
import re
import shlex
import subprocess
import urllib.request
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


def test_pulumi_by_hand_sees_the_stack_that_make_up_made(served):
    """The README's `eval "$(make -s env)"`, then `pulumi`."""
    script = 'eval "$(.venv/bin/python tools/stack.py env local)" && pulumi stack output model_digest -s local'
    done = subprocess.run(
        ["sh", "-c", script], cwd=served.root, env=served.environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == served.outputs()["model_digest"]


def test_another_problem_is_one_line_of_the_stack_s_configuration(project):
    """A regression on Parquet files, instead of a classification on CSV files."""
    project.configure(problem="ratings")
    project.run("up")
    outputs = project.outputs()
    assert outputs["model_name"] == "ratings"
    assert set(outputs["metrics"]["test"]) == {"rmse", "mae", "r2"}
    rated = "2013-06-01T21:30:00+02:00"
    row = {"rated_at": rated, "viewer": "9999", "film": "318", "genres": "Drama", "film_year": 1994}
    request = urllib.request.Request(outputs["endpoint"] + ":predict", json.dumps({"instances": [row]}).encode())
    with urllib.request.urlopen(request, timeout=10) as response:
        (stars,) = json.load(response)["predictions"]
    assert 1 < stars < 5
