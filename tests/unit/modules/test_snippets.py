"""What a page shows to be typed or read is run by a test, or says here why it is not: one row for each such block.

A row: the page (a README below the top: its folder), words of the block's first line, and the test (`file::name`, below
`tests/`) that runs it; after `words:` one that only finds its words to be there; after `not run:` the reason.
"""

import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.gcp.platform import GcpPlatform

CHECKOUT = Path(__file__).resolve().parents[3]
PAGES = [(page.stem, page) for page in [*CHECKOUT.glob("*.md"), *sorted((CHECKOUT / "docs").rglob("*.md"))]]
PAGES += [(folder, CHECKOUT / folder / "README.md") for folder in ("modules", "serving", "trainer")]
TABLE = """
CONTRIBUTING | make test             | words: unit/modules/test_pages.py::test_every_make_target
README       | raw files             | not run: a picture
README       | make up               | conftest.py::served
README       | curl                  | engine/test_documentation.py::test_the_curl_of_the_readme_is_answered
README       | {"predictions         | engine/test_documentation.py::test_the_curl_of_the_readme_is_answered
README       | eval                  | engine/own/test_retraining.py::by_hand
README       | cluster.trainer_image | google/test_policies.py::test_the_commands_of_the_readme_plan
access       | penstock:             | unit/modules/test_settings.py::test_every_setting_that_the_pages_show
access       | python -c             | unit/modules/test_snippets.py::test_the_command_for_a_token_makes_one
contracts    |                       | not run: forms of files, held by the tests of what writes and reads them
gcp          | gcloud                | not run: there is no gcloud here; test_pages.py finds the targets
gcp          | approve_replacement   | google/test_promotion.py::test_prod_as_its_file_stands
gcp          | gcp.model             | google/test_documentation.py::test_settings_that_a_page_shows_are_set
gcp          | SELECT                | not run: there is no BigQuery and no bill; see its labels below
gcp          | budget:               | google/test_environment.py::test_the_stages_that_the_page_shows
gitops       | make plan             | words: google/test_gitops_tools.py::test_every_command_of_a_document
gitops       | pulumi config         | google/test_documentation.py::test_settings_that_a_page_shows_are_set
gitops       | import pulumi         | google/test_gitops.py::test_the_program_of_the_document
gitops       | from penstock         | google/test_gitops.py::test_the_programs_of_the_document
index        | make up               | words: unit/modules/test_pages.py::test_every_make_target
kubernetes   | config:               | unit/modules/test_kubernetes_documentation.py::test_the_stack_file
kubernetes   | kubectl create        | cluster/test_pipeline.py::test_raw_files_on_a_claim_as_the_page_has_it
kubernetes   | pulumi config         | google/test_documentation.py::test_settings_that_a_page_shows_are_set
kubernetes   | make cluster          | words: unit/modules/test_kubernetes_documentation.py::test_every_command_is_one
kubernetes   | rules:                | pods/costly/test_autoscaling.py::test_replicas_follow_what_the_hpa
modules      | from penstock         | reuse/test_documentation.py::test_the_program_of_the_readme_of_modules
notebooks    | make notebook         | notebook/test_lab.py::test_the_lab_is_on_the_loopback_address
operating    | penstock doctor       | infra/test_command.py::test_the_commands_of_the_page
policy       | make plan             | words: google/test_gitops_tools.py::test_every_command_of_a_document
policy       | pulumi preview        | google/test_gitops_tools.py::test_the_commands_of_the_page_on_policies
policy       | pulumi config         | google/test_documentation.py::test_settings_that_a_page_shows_are_set
policy       | {"price-ceiling       | google/test_gitops_tools.py::test_the_commands_of_the_page_on_policies
problem      |                       | unit/trainer/test_documentation.py::test_the_page_s_problem_and_commands
rest         |                       | contract/test_documentation.py::test_an_example_is_answered_as_shown
reuse        | -m pip                | words: reuse/test_documentation.py::test_every_command_is_one
reuse        | tools/                | words: reuse/test_documentation.py::test_every_command_is_one
reuse        | copier                | words: reuse/test_documentation.py::test_every_command_is_one
reuse        | import pulumi         | reuse/test_documentation.py::test_the_python_program
reuse        | name: served          | reuse/test_documentation.py::test_the_yaml_program
rollout      | penstock:             | unit/modules/test_settings.py::test_every_setting_that_the_pages_show
rollout      | GET                   | contract/test_supervisor.py::test_a_version_that_answers_otherwise
rollout      | {"name"               | contract/test_supervisor.py::test_a_version_that_answers_otherwise
skew         | penstock_serving --   | contract/test_skew_documentation.py::test_the_curl_of_the_page
skew         | penstock_serving.skew | contract/test_skew_documentation.py::test_the_command_for_continuous
skew         | curl                  | contract/test_skew_documentation.py::test_the_curl_of_the_page
skew         | {"name"               | contract/test_skew_documentation.py::test_the_curl_of_the_page
skew         | {"text"               | contract/test_skew.py::test_skew_is_found_said_shown_counted_and_alerted
skew         | pulumi config         | google/test_documentation.py::test_settings_that_a_page_shows_are_set
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
FENCED = r"^ *```\w*\n(?P<fenced>.*?)^ *```"
INDENTED = r"(?<=\n\n)(?P<indented>(?: {4}[^\n]*\n| *\n)* {4}[^\n]*\n)"
BLOCKS = [
    (page, textwrap.dedent(found["fenced"] or found["indented"]))
    for page, file in PAGES
    for found in re.finditer(rf"{FENCED}|{INDENTED}", file.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
]


def shown(page: str, words: str) -> list[str]:
    """The blocks of a page that a row is about."""
    return [block for each, block in BLOCKS if each == page and words in block.partition("\n")[0]]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page}: {block[:30]!r}" for page, block in BLOCKS])
def test_every_block_of_a_page_has_a_test_or_a_reason(page, block):
    fitting = [row for row in ROWS if row[0] == page and block in shown(page, row[1])]
    assert len(fitting) == 1, fitting


@pytest.mark.parametrize(("page", "words", "runner"), ROWS, ids=[" ".join(row[:2]) for row in ROWS])
def test_every_test_that_is_named_is_there_and_reads_the_page(page, words, runner):
    assert shown(page, words), "no page shows that any more"
    if runner.startswith("not run: "):
        return
    named = re.fullmatch(r"(?:words: )?(\S+\.py)::(\w+)", runner)
    assert named, "names no test"
    file, name = named.groups()
    text = (CHECKOUT / "tests" / file).read_text(encoding="utf-8")
    assert f"def {name}" in text
    assert re.search(rf"\b{page}\b", text, re.IGNORECASE) or file in ("conftest.py", "unit/modules/test_pages.py")


def test_the_command_for_a_token_makes_one_that_the_page_on_access_would_take():
    (command,) = (block for page, block in BLOCKS if page == "access" and block.startswith("python -c"))
    program, *arguments = shlex.split(command)
    made = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout
    assert program == "python"
    assert re.fullmatch(r"[A-Za-z0-9._~+/-]{16,}=*\n", made)


def test_the_bill_is_grouped_by_labels_that_everything_bears():
    (query,) = (block for page, block in BLOCKS if page == "gcp" and block.startswith("SELECT"))
    asked = set(re.findall(r"'(?:k8s-label/)?(\w+)'", query))
    assert asked == {"model", "run"}
    environment: Any = SimpleNamespace(owner="me", project="penstock-dev-example")
    assert asked <= vars(GcpPlatform("dev", environment, "flights"))["_labels"].keys()
