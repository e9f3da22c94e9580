"""A repository made from the template: its tests pass, and its program ends in a served model. All of it runs."""

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import go_programs
import yaml
from packaging.requirements import Requirement

from penstock import Program
from penstock.local.programs import NEEDED
from tests.reuse.conftest import PACKAGE, from_template, make

CHECKOUT = Path(__file__).resolve().parents[2]
ROW = {"weight": 2.5, "volume": 4, "distance": 800, "zone": "east"}
NEAR = {"weight": 6, "volume": 4, "distance": 20, "zone": "north"}


def asked(url, *rows):
    """The endpoint's answers, and the digest of the model that gave them."""
    request = urllib.request.Request(url + ":predict", json.dumps({"instances": rows}).encode())
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["predictions"], response.headers["x-model-digest"]


def test_the_commands_of_its_readme_end_in_an_answer(repository, carried):
    """The first was run by the fixture `repository`, the third and the fourth by `carried`."""
    lines = re.search(r"(?:^    .*\n)+", (repository / "README.md").read_text(), flags=re.MULTILINE)
    assert lines
    first, second, third, fourth, asking = (line.strip() for line in lines[0].splitlines())
    assert [first, third, fourth] == ["make environments", "pulumi stack init local", "pulumi up -s local"]
    assert second == "make test"
    assert "3 passed" in make(repository, "test")
    curl = shlex.split(asking.replace("8501", str(carried.port)))
    answer = subprocess.run([*curl, "--silent"], capture_output=True, text=True, check=True).stdout
    (prediction,) = json.loads(answer)["predictions"]
    assert 0 < prediction < 1


def test_by_its_default_name_it_is_the_same_but_for_that_name(tmp_path):
    own, default = (
        {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}
        for folder in (from_template(tmp_path / "own", package=PACKAGE), from_template(tmp_path / "default"))
    )
    assert [file for file, text in own.items() if re.search(r"\bparcels\.(?!csv)", text)] == []
    named = re.compile(rf"\b{PACKAGE}\b")
    assert {named.sub("parcels", file): named.sub("parcels", text) for file, text in own.items()} == default


def test_the_server_that_answers_has_its_dependencies_and_no_tensorflow(environments):
    (packages,) = environments["serving"].glob("lib/python*/site-packages")
    found = {each.name for folder in (packages, packages / "others") for each in folder.iterdir()}
    assert {"penstock_serving", "uvicorn"} <= found
    assert "tensorflow" not in found


def test_its_program_ends_in_a_model_that_answers_under_its_digest(carried):
    outputs = carried.outputs()
    assert outputs["rows"]["rows"] == 480
    (far, near), digest = asked(outputs["endpoint"], ROW, NEAR)
    assert 0 < far < 1
    assert 0 < near < 1
    assert digest == outputs["model_digest"]
    assert outputs["endpoint"].endswith("/v1/models/late")


def test_the_trainer_that_ran_was_the_published_one_and_the_problem_the_installed_package_s(carried, environments):
    job = carried.resources()["flow-train-model"]
    assert job["program"][0] == str(carried.folder / "trainer/.venv/bin/python")
    where = f"import {PACKAGE}, penstock_trainer; print({PACKAGE}.__file__, penstock_trainer.__file__)"
    done = subprocess.run([job["program"][0], "-c", where], cwd="/", capture_output=True, text=True, check=True)
    package, trainer = (Path(file) for file in done.stdout.split())
    assert package.parent == carried.folder / PACKAGE, "installed as it lies there"
    assert environments["trainer"] in trainer.parents
    assert job["roles"]["chief"]["command"][:3] == ["train", "--problem", f"{PACKAGE}.late"]


def test_a_change_in_the_installed_package_is_a_change_of_the_stages_and_without_one_there_is_none(carried):
    assert "unchanged" in (again := carried.up())
    assert not re.search(r"\d+ (created|updated|replaced)", again)
    file = carried.folder / PACKAGE / "promise.py"
    text = file.read_text()
    file.write_text(text.replace("3.0", "2.0"))
    steps = json.loads(carried.run("preview", "--json"))["steps"]
    file.write_text(text)
    changed = {step["urn"].rpartition("::")[2] for step in steps if step["op"] == "update"}
    assert {"flow-preprocess-dataset", "flow-tune-study", "flow-train-model"} <= changed


def test_it_installs_from_folders_that_are_distributions(repository):
    text = _makefile(repository)
    text = text.replace("$(PENSTOCK)", re.findall(r"^PENSTOCK = (.*)$", text, flags=re.MULTILINE)[0])
    found = [Requirement(each) for each in re.findall(r'"([^"]* @ [^"]*)"', text)]
    assert [each.name for each in found] == ["penstock", "penstock-trainer", "penstock-trainer", "penstock-serving"]
    for each in found:
        folder = CHECKOUT / str(each.url).rpartition("#subdirectory=")[2] / "pyproject.toml"
        declared = folder.read_text()
        assert f'name = "{each.name}"' in declared
        assert all(f"\n{extra} = [" in declared for extra in each.extras)
    assert found[1].extras == Requirement(NEEDED[Program.TRAINER]).extras


def jobs(folder):
    """Every job of the repository's workflows, by name."""
    read = [yaml.safe_load(file.read_text()) for file in sorted((folder / ".github/workflows").glob("*.yml"))]
    return {name: {**workflow, **job} for workflow in read for name, job in workflow["jobs"].items()}


def test_its_workflows_pin_their_actions_by_commit_and_may_do_nothing_that_their_job_does_not_need(repository):
    found = jobs(repository)
    asked = {name: job["permissions"] for name, job in found.items()}
    deploy = {"contents": "read", "id-token": "write"}
    assert asked == {"test": {"contents": "read"}, "deploy": deploy, "preview": {**deploy, "pull-requests": "write"}}
    for job in found.values():
        uses = [step["uses"] for step in job["steps"] if "uses" in step]
        assert uses
        assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", each) for each in uses)
        # What a person or a fork can write is never part of a script.
        runs = [step.get("run", "") for step in job["steps"]]
        assert not any("${{" in run for run in runs)
        made = re.findall(r"^make (\S+)", "\n".join(runs), flags=re.MULTILINE)
        assert made
        assert set(made) <= set(re.findall(r"^([\w./]+):", _makefile(repository), flags=re.MULTILINE))


def test_its_jobs_hold_no_key_and_act_as_what_their_environment_is_let(repository):
    text = "".join(file.read_text() for file in (repository / ".github").rglob("*.yml"))
    # The passphrase opens the stack's own secrets, and nothing of a cluster or a cloud.
    assert set(re.findall(r"secrets\.(\w+)", text)) == {"PULUMI_CONFIG_PASSPHRASE"}
    told = (repository / "README.md").read_text()
    assert set(re.findall(r"vars\.(\w+)", text)) == set(re.findall(r"`([A-Z_]+)`", told)) - {"PULUMI_CONFIG_PASSPHRASE"}
    preview, deploy = (jobs(repository)[name] for name in ("preview", "deploy"))
    assert (preview["environment"], deploy["environment"]) == ("preview", "production")
    assert preview["steps"][: len(deploy["steps"]) - 1] == deploy["steps"][:-1], "the same, up to what is done"
    assert "head.repo.full_name == github.repository" in preview["if"], "a fork's pull request gets no identity"


def test_a_pull_request_is_told_what_it_would_change_and_a_merge_deploys_it(carried):
    for problem, expected in (
        ("nowhere.late", "has no module 'nowhere', which the setting `problem` names"),
        (f"{PACKAGE}.late", r"\d+ unchanged"),
    ):
        carried.configure(problem=problem)
        done = step(carried, "preview", "Preview")
        assert (done.returncode == 0) == (problem == f"{PACKAGE}.late")
        comment = (carried.folder / "comment.md").read_text()
        assert comment.startswith("local: what this would change\n\n```\nPreviewing update (local)")
        assert re.search(expected, comment), comment
    assert "unchanged" in step(carried, "deploy", "Deploy").stdout


def step(carried, job, name):
    """A step of a job, as GitHub's runners run it."""
    (script,) = (each["run"] for each in jobs(carried.folder)[job]["steps"] if each.get("name") == name)
    around = {**carried.environment, "STACK": "local"}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=carried.folder, env=around, capture_output=True, text=True, check=False)


def test_two_linters_find_nothing_in_its_workflows(repository):
    files = sorted((repository / ".github/workflows").glob("*.yml"))
    zizmor = Path(sys.executable).parent / "zizmor"
    for linter in ([go_programs.program("actionlint"), "-no-color"], [zizmor, "--offline", "--no-progress"]):
        done = subprocess.run([*linter, *files], cwd=repository, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def _makefile(repository):
    return (repository / "Makefile").read_text()
