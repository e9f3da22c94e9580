"""GitHub's workflows: linted by others' linters, and their own steps run, as far as that goes without GitHub."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import github
import go_programs
import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[3]
WORKFLOWS = PROJECT / ".github/workflows"
GH = """#!{python}
import json, os, sys
with open({calls!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + chr(10))
answers = json.loads(open({answers!r}).read())
fitting = [pair for pair in answers if sys.argv[1:1 + len(pair[0])] == pair[0]]
if fitting:
    print(json.dumps(fitting[0][1]))
if len(fitting) > 1:
    answers.remove(fitting[0])
    open({answers!r}, "w").write(json.dumps(answers))
"""


def read(workflow):
    """A workflow, what starts it, and its one job."""
    content = yaml.safe_load((WORKFLOWS / f"{workflow}.yml").read_text())
    (job,) = content["jobs"].values()
    return content, content[True], job  # in YAML 1.1, `on` is true


def step(workflow, name):
    """The commands of a step."""
    (found,) = (each["run"] for each in read(workflow)[2]["steps"] if each.get("name") == name)
    return found


def test_actionlint_finds_nothing():
    done = subprocess.run(
        [go_programs.program("actionlint"), "-no-color", *sorted(WORKFLOWS.glob("*.yml"))],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing():
    command = [str(Path(sys.executable).parent / "zizmor"), "--offline", "--no-progress", str(WORKFLOWS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings to report" in done.stdout + done.stderr


def test_a_linter_that_finds_nothing_would_find_something(tmp_path):
    bad = tmp_path / ".github/workflows/bad.yml"
    bad.parent.mkdir(parents=True)
    bad.write_text(
        "on: pull_request_target\njobs:\n  a:\n    runs-on: nowhere\n    steps:\n      - uses: actions/checkout@v4\n"
        "      - run: echo ${{ github.event.pull_request.title }}\n"
    )
    linters = ([go_programs.program("actionlint")], [Path(sys.executable).parent / "zizmor", "--offline"])
    for linter in linters:
        done = subprocess.run([*linter, str(bad)], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode != 0, done.stdout


@pytest.mark.parametrize("file", sorted(WORKFLOWS.glob("*.yml")), ids=lambda file: file.stem)
def test_a_workflow_has_no_key_of_google_s_and_runs_commands_that_are_there(file):
    text = file.read_text()
    assert "credentials_json" not in text
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}, "a job asks for what it needs"
    for job in workflow["jobs"].values():
        for each in job["steps"]:
            for line in each.get("run", "").splitlines():
                words = line.split()
                if words[0] == "make":
                    assert f"\n{words[1]}:" in (PROJECT / "Makefile").read_text()
                else:
                    script = words[1] if words[0] == ".venv/bin/python" else words[0]
                    assert (PROJECT / script).exists(), line


def test_a_merge_to_main_deploys_dev_then_staging_then_prod_and_ends_at_the_first_that_fails():
    content, starts, job = read("deploy")
    assert starts["push"]["branches"] == ["main"]
    assert job["strategy"] == {"max-parallel": 1, "fail-fast": True, "matrix": {"stack": ["dev", "staging", "prod"]}}
    assert content["concurrency"] == {"group": "deploy"}, "one at a time, and none is cancelled while it deploys"
    names = [each["name"] for each in job["steps"] if "run" in each]
    assert names == ["up"], "which the policy pack judges"
    for each in (job, *job["steps"]):
        assert not {"if", "continue-on-error"} & set(each), "nothing goes on after a failure"


def test_a_stack_is_looked_at_every_night_and_retrained_every_week():
    for workflow, weekdays in (("drift", "*"), ("deploy", "1")):
        (schedule,) = read(workflow)[1]["schedule"]
        minute, hour, day, month, weekday = schedule["cron"].split()
        assert (day, month, weekday) == ("*", "*", weekdays), "Mondays are 1"
        assert 0 <= int(hour) < 5, "by night"
        assert 0 < int(minute) < 60, "not when everybody's begin"


def test_what_a_merge_would_deploy_is_previewed_on_its_pull_request():
    (*previewed, _), (*deployed, _) = read("preview")[1]["pull_request"]["paths"], read("deploy")[1]["push"]["paths"]
    assert previewed == deployed, "but for the file of the workflow itself"
    assert read("preview")[2]["strategy"]["matrix"] == read("deploy")[2]["strategy"]["matrix"]
    assert "github.event.pull_request.head.repo.full_name == github.repository" in read("preview")[2]["if"]


SIGNED_IN = {"preview": ("VIEWER", "preview-"), "drift": ("VIEWER", "preview-"), "deploy": ("DEPLOYER", "")}
"""By workflow: whose account its job has, and what is before the stack's name in its environment's."""


@pytest.mark.parametrize("workflow", sorted(file.stem for file in WORKFLOWS.glob("*.yml")))
def test_a_job_signs_in_to_google_without_a_key_and_only_the_one_that_deploys_as_the_deployer(workflow):
    _, _, job = read(workflow)
    uses = [each.get("uses", "").partition("@")[0] for each in job["steps"]]
    signs_in = "google-github-actions/auth" in uses
    assert signs_in == (job["permissions"].get("id-token") == "write") == (workflow in SIGNED_IN)
    if not signs_in:
        assert "environment" not in job
        return
    account, before = SIGNED_IN[workflow]
    assert job["environment"] == before + "${{ matrix.stack }}"
    at = uses.index("google-github-actions/auth")
    assert job["steps"][at]["with"] == {
        "workload_identity_provider": "${{ vars.WORKLOAD_IDENTITY_PROVIDER }}",
        "service_account": f"${{{{ vars.{account}_SERVICE_ACCOUNT }}}}",
    }
    assert not any("run" in each for each in job["steps"][:at]), "before anything is asked of Google"


@pytest.fixture
def gh(tmp_path, monkeypatch):
    """A `gh` that answers what it is told to, one after the other, and a list of what it was asked."""
    calls, answers = tmp_path / "calls", tmp_path / "answers"
    calls.touch()
    program = tmp_path / "bin" / "gh"
    program.parent.mkdir()
    program.write_text(GH.format(python=sys.executable, calls=str(calls), answers=str(answers)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    class Gh:
        def answers(self, *pairs):
            answers.write_text(json.dumps(pairs))

        @property
        def asked(self):
            return [json.loads(line) for line in calls.read_text().splitlines()]

    made = Gh()
    made.answers()
    return made


def run(script, folder, **environment):
    """A step, as GitHub's runners run it."""
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_comment_takes_the_place_of_the_same_stack_s_earlier_one(gh, tmp_path):
    (tmp_path / "comment.md").write_text("### `dev`: 1 to update\n")
    script = step("preview", "comment").replace(".venv", str(PROJECT / ".venv")).replace("tools/", f"{PROJECT}/tools/")
    run(script, tmp_path, PULL_REQUEST="7")
    assert gh.asked[-1] == ["pr", "comment", "7", "--body-file", "comment.md"]
    there = [{"id": 1, "body": "### `prod`: nothing changes"}, {"id": 2, "body": "### `dev`: nothing changes"}]
    gh.answers([["api", "--paginate"], there])
    run(script, tmp_path, PULL_REQUEST="7")
    assert gh.asked[-1][:4] == ["api", "--method", "PATCH", "repos/{owner}/{repo}/issues/comments/2"]


def test_drift_is_one_issue_however_many_nights_it_lasts(gh, tmp_path):
    (tmp_path / "issue.md").write_text("What is deployed as `dev` is not what the program says:\n")
    script = step("drift", "tell").replace(".venv", str(PROJECT / ".venv")).replace("tools/", f"{PROJECT}/tools/")
    run(script, tmp_path, STACK="dev")
    assert gh.asked[-1] == ["issue", "create", "--title", "dev has drifted", "--body-file", "issue.md"]
    gh.answers(
        [["issue", "list"], [{"number": 3, "title": "prod has drifted"}, {"number": 4, "title": "dev has drifted"}]]
    )
    run(script, tmp_path, STACK="dev")
    assert gh.asked[-1] == ["issue", "comment", "4", "--body-file", "issue.md"]


@pytest.fixture
def clone(tmp_path):
    """A clone of a repository with the stacks, the tools and the environment of this one."""
    origin, folder = tmp_path / "origin.git", tmp_path / "clone"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    git(tmp_path, "clone", "--quiet", str(origin), str(folder))
    for name in ("stacks", "tools"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
    for name in ("Pulumi.yaml", "Makefile", ".gitignore"):
        shutil.copy(PROJECT / name, folder)
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    dev = folder / "stacks/Pulumi.dev.yaml"
    dev.write_text(dev.read_text().replace("trainer@sha256:0", "trainer@sha256:e"))
    git(folder, "add", ".")
    git(folder, "reset", "--quiet", ".venv")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "--quiet", "-m", "as it was")
    git(folder, "push", "--quiet", "origin", "HEAD:main")
    return folder


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


# What makes the environments is left out (`make -n`): the clone uses this checkout's.
def test_a_promotion_is_a_commit_that_moves_digests_on_a_branch_of_its_own(gh, clone):
    around = {"SOURCE": "dev", "TARGET": "staging", "MODEL": "", "MAKEFLAGS": "n"}
    gh.answers([["pr", "list"], []], [["pr", "list"], [{"number": 12}]])
    run(step("promote", "promote"), clone, **around)
    branch = "promote-dev-to-staging"
    git(clone, "fetch", "--quiet", "origin", branch)
    assert git(clone, "diff", "--name-only", "origin/main", "FETCH_HEAD").split() == ["stacks/Pulumi.staging.yaml"]
    changed = git(clone, "diff", "-U0", "origin/main", "FETCH_HEAD").splitlines()
    added = [line for line in changed if line.startswith("+ ")]
    assert len(added) == 1
    assert "trainer@sha256:e000" in added[0]
    started = ["--ref", branch, "--field", "pull_request=12"]
    assert gh.asked[-2:] == [["workflow", "run", f"{name}.yml", *started] for name in ("checks", "preview")]
    (created,) = (asked for asked in gh.asked if asked[:2] == ["pr", "create"])
    assert created[:6] == ["pr", "create", "--head", branch, "--title", "Promote dev to staging"]
    assert "trainer_image: sha256:e000" in created[-1]


def test_what_a_promotion_starts_takes_the_number_of_its_pull_request():
    for name in github.STARTED:
        assert "pull_request" in read(name)[1]["workflow_dispatch"]["inputs"]
    assert read("promote")[2]["permissions"]["actions"] == "write"


def test_a_promotion_of_nothing_opens_nothing(gh, clone):
    around = {"SOURCE": "staging", "TARGET": "staging", "MODEL": "", "MAKEFLAGS": "n"}
    assert "staging has all that staging has" in run(step("promote", "promote"), clone, **around)
    assert gh.asked == []
