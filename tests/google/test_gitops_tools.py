"""What pull requests, promotions and nights are told, from what the real engine tells."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import environments
import events
import plan
import promote
import pytest
import settings_check
import yaml
from common import ToolError
from settings import SettingsError

STORE = """
    import os, pulumi
    from penstock import gcp

    gcp.ArtifactStore("store", {
        "bucket": "acme-store", "location": os.environ.get("PLACE", "us-central1"), "protect": False,
        "readers": {"server": "a@acme.iam.gserviceaccount.com"},
        "labels": {"environment": "dev", "owner": os.environ.get("OWNER", "me"), "model": "flights", "run": "shared"}})
    pulumi.export("estimated_cost", {
        "usd_per_hour_idle": [0.1, 0.2], "usd_per_month_idle": [73, 146], "usd_per_hour_peak": [1, 1234.5],
        "usd_per_run": [0, 2], "rows": ["NAT gateway: 1 idle"], "without_a_price": ["nvidia-b200"],
        "note": "list prices"})
"""
BUCKET = "gcp:storage/bucket:Bucket store-bucket"


@pytest.fixture(scope="module")
def trial(make_stack, tmp_path_factory):
    made = make_stack(tmp_path_factory.mktemp("gitops"), STORE)
    made.up()
    return made


def told(trial, *arguments, expected=0, **environment):
    """What the engine tells of a command."""
    log = trial.folder / "events.jsonl"
    log.unlink(missing_ok=True)
    around = {"PULUMI_DEBUG_COMMANDS": "true", **environment}
    trial.run(*arguments, "--stack", "dev", "--event-log", str(log), expected=expected, **around)
    return events.load(log)


def test_a_pull_request_is_told_the_price_and_what_would_change(trial, policed):
    found = told(trial, "preview", *policed, OWNER="you")
    assert found.operations == {BUCKET: "update"}
    assert plan.reasons(0, found, ()) == []
    text = plan.comment("dev", found, [])
    assert text.startswith("### `dev`: 1 to update\n")
    assert "| an hour at the peak | 1.00 to 1,234.50 |" in text
    assert "Not counted, as no price is recorded: nvidia-b200." in text
    assert f"- update `{BUCKET}`: labels" in text
    assert "must not be deployed" not in text


def test_a_replacement_is_refused_in_the_comment_until_it_is_named(trial):
    found = told(trial, "preview", PLACE="europe-west4")
    (reason,) = plan.reasons(0, found, ())
    assert "the plan replaces the bucket store-bucket" in reason
    assert plan.reasons(0, found, ("store-bucket",)) == []
    text = plan.comment("dev", found, [reason])
    assert "**It must not be deployed:**" in text
    assert f"- replace `{BUCKET}`: location" in text


def test_a_broken_rule_is_told_by_its_name(trial, policed):
    trial.run("config", "set", "penstock:gcp", json.dumps({"protect": True}), "--stack", "dev")
    found = told(trial, "preview", *policed, expected=1)
    trial.run("config", "rm", "penstock:gcp", "--stack", "dev")
    reasons = plan.reasons(255, found, ())
    assert [reason.partition(":")[0] for reason in reasons] == ["protected-data", "replacement-approval"]


def test_the_commands_of_the_page_on_policies_judge_a_program_of_others_and_give_it_a_ceiling(trial):
    page = (settings_check.PROJECT / "docs/policy.md").read_text()
    preview, up, below = (shlex.split(line)[1:] for line in re.findall(r"^pulumi (?!config).*", page, re.MULTILINE))
    (trial.folder / "policies").symlink_to(settings_check.PROJECT / "policies")
    assert preview[1:] == up[1:], "an `up` previews first"
    assert not told(trial, *up, "--yes").findings
    (text,) = re.findall(r"^```json\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    (trial.folder / "ceiling.json").write_text(text)
    found = told(trial, *below, expected=1)
    assert [finding.partition(":")[0] for finding in found.findings] == ["price-ceiling"] * 2
    assert "costs up to 1234.5 USD an hour at its peak, the ceiling is 5" in "".join(found.findings)


@pytest.mark.parametrize("name", ["policy", "gitops"])
def test_every_command_of_a_document_is_there(name):
    page = (settings_check.PROJECT / f"docs/{name}.md").read_text()
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S) for line in block.splitlines()]
    makefile = (settings_check.PROJECT / "Makefile").read_text()
    assert lines
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert f"\n{words[1]}: " in makefile
            continue
        if words[0].endswith("/python"):
            assert (settings_check.PROJECT / words[1]).exists()
            continue
        assert words[0] == "pulumi", "which is run, above and by test_documentation.py"


def test_a_program_that_fails_is_refused_with_its_error():
    lines = ['{"diagnosticEvent": {"severity": "error", "message": "no such setting\\n"}}']
    assert plan.reasons(1, events.read(lines), ()) == ["no such setting"]
    assert plan.reasons(1, events.Events(), ()) == ["the preview failed with exit code 1"]


def test_outputs_are_told_as_the_cli_tells_them_and_secrets_are_not():
    secret = {events.SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "[secret]"}
    outputs = {"n": 3, "token": secret, "nested": {"list": [1, secret], "plain": "text"}}
    stack = {"type": events.STACK, "urn": f"urn:pulumi:dev::acme::{events.STACK}::acme-dev", "op": "same"}
    line = json.dumps({"resOutputsEvent": {"metadata": {**stack, "new": {"outputs": outputs}}}})
    told = {"n": 3, "token": "[secret]", "nested": {"list": [1, "[secret]"], "plain": "text"}}
    assert events.read([line]).outputs == told


def looked(trial, *arguments, expected):
    """What the night's tool says of the stack, run in the stack's own project."""
    for name in ("tools", "stacks"):
        ignored = shutil.ignore_patterns(".venv", "__pycache__")
        shutil.copytree(settings_check.PROJECT / name, trial.folder / name, ignore=ignored, dirs_exist_ok=True)
    command = [sys.executable, "tools/drift.py", "dev", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=trial.folder, env=trial._environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_what_was_changed_or_is_gone_is_told_by_night_and_the_state_stays(trial, tmp_path):
    issue = tmp_path / "issue.md"
    assert "penstock: dev: nothing has drifted" in looked(trial, "--issue", issue, expected=0)
    assert not issue.exists(), "which is how the workflow knows"
    before = trial.state()
    with trial.cloud.resources() as resources:
        (bucket,) = (each for each in resources.values() if each["type"].endswith(":Bucket"))
        bucket["outputs"]["labels"] = bucket["inputs"]["labels"] = {"owner": "somebody else"}
        (grant,) = (id_ for id_, each in resources.items() if "IAMMember" in each["type"])
        taken = resources.pop(grant)
    said = looked(trial, "--issue", issue, expected=1)
    text = issue.read_text()
    assert text in said
    assert text.startswith("What is deployed as `dev` is not what the program says:\n")
    assert f"- `{BUCKET}` was changed" in text, text
    assert "BucketIAMMember store-server` is gone" in text
    assert trial.state() == before
    with trial.cloud.resources() as resources:
        resources[grant] = taken


SEEN = """
import os, sys

log = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and os.path.isabs(arguments[0]):
        os.write(log, arguments[0].encode() + bytes([10]))

sys.addaudithook(note)
"""
"""A `sitecustomize` by which every Python notes what it opens."""


@pytest.fixture(scope="module")
def read_by_a_plan(make_environment, tmp_path_factory):
    """The files of the repository that a plan of dev opens, in whatever process, and those it is prepared from."""
    folder = tmp_path_factory.mktemp("seen")
    (folder / "sitecustomize.py").write_text(SEEN.format(log=str(folder / "log")))
    trial = make_environment("dev")
    trial.around["PYTHONPATH"] = f"{folder}{os.pathsep}{trial._environment['PYTHONPATH']}"
    trial.make("plan")
    found = {Path("Makefile"), Path("Pulumi.yaml")}
    for environment in (*environments.ENVIRONMENTS, environments.POLICIES):
        members = (settings_check.PROJECT / member / "pyproject.toml" for member in environment.editable)
        found |= {file.relative_to(settings_check.PROJECT) for file in (environment.runtime_lock, *members)}
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=settings_check.PROJECT, capture_output=True, text=True, check=True)
    # The providers' plugins are stand-ins here.
    names = {Path(name) for name in done.stdout.splitlines() if not name.startswith("tests/")}
    for line in (folder / "log").read_text().splitlines():
        file = Path(line)
        if file.parent.name == "__pycache__":
            file = file.parents[1] / f"{file.name.partition('.')[0]}.py"
        for root in (trial.folder, settings_check.PROJECT):
            if file.is_relative_to(root):
                found |= {file.relative_to(root)} & names
    return found


@pytest.mark.parametrize(("workflow", "start"), [("preview", "pull_request"), ("deploy", "push")])
def test_whatever_a_plan_reads_starts_it_when_it_changes(read_by_a_plan, workflow, start):
    file = f".github/workflows/{workflow}.yml"
    patterns = yaml.safe_load((settings_check.PROJECT / file).read_text())[True][start]["paths"]
    # GitHub's: `**` is anything, `*` anything but a slash.
    rules = [re.escape(each).replace(r"\*\*", ".*").replace(r"\*", "[^/]*") for each in patterns]

    def starts(name):
        return any(re.fullmatch(rule, name) for rule in rules)

    assert {
        Path("stacks/__main__.py"),
        Path("policies/penstock_policies/pack.py"),
        Path("tools/plan.py"),
    } <= read_by_a_plan
    assert [str(name) for name in sorted(read_by_a_plan) if not starts(str(name))] == []
    assert starts(file)
    assert not starts("docs/gitops.md"), "nor is everything previewed"


NEW = "sha256:" + "b" * 64


@pytest.fixture
def stacks(tmp_path, monkeypatch):
    """Copies of the stacks' files, with another server image in dev's."""
    for name in ("dev", "staging", "prod"):
        shutil.copy(settings_check.config_file(name), tmp_path)
    monkeypatch.setattr(settings_check, "config_file", lambda stack: tmp_path / f"Pulumi.{stack}.yaml")
    dev = tmp_path / "Pulumi.dev.yaml"
    head, _, tail = dev.read_text().partition("serving@sha256:")
    dev.write_text(f"{head}serving@{NEW}{tail[64:]}")
    return tmp_path


def test_a_promotion_moves_digests_and_nothing_else(stacks):
    before = (stacks / "Pulumi.staging.yaml").read_text()
    message = promote.promote("dev", "staging", None)
    assert message.splitlines() == ["Promote dev to staging", "", f"server_image: {NEW}"]
    after = (stacks / "Pulumi.staging.yaml").read_text()
    changed = [(a, b) for a, b in zip(before.splitlines(), after.splitlines(), strict=True) if a != b]
    assert len(changed) == 1
    assert changed[0][1].strip().endswith(f"serving@{NEW}")
    assert promote.promote("dev", "staging", None) == "", "a second time there is nothing to move"


def test_prod_gets_the_images_and_the_model_of_staging(stacks):
    promote.promote("dev", "staging", None)
    message = promote.promote("staging", "prod", "sha256:" + "c" * 64)
    assert "model: sha256:cccc" in message
    settings = settings_check.check("prod").gcp
    assert settings is not None
    assert settings.model == "sha256:" + "c" * 64
    assert settings.server_image.endswith(NEW)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("staging", "prod", "latest"), "'latest' is no digest"),
        (("dev", "staging", "sha256:" + "c" * 64), "the target names no model"),
        (("dev", "qa", None), "there is no "),
    ],
)
def test_what_cannot_be_promoted_is_told(stacks, arguments, told):
    with pytest.raises((ToolError, SettingsError)) as caught:
        promote.promote(*arguments)
    assert told in str(caught.value)
