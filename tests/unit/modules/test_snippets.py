"""What a page shows to be typed or read is run by a test, or says here why it is not: one row for each such block.

A row: the page, how its block begins, and the test (`file::name`, below `tests/`) or, after `not run:`, the reason.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.gcp.platform import GcpPlatform

CHECKOUT = Path(__file__).resolve().parents[3]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
TABLE = """
README     | raw files                | not run: a picture
README     | make up                  | conftest.py::served
README     | curl                     | engine/test_documentation.py::test_the_curl_of_the_readme_is_answered
README     | {"predictions            | engine/test_documentation.py::test_the_curl_of_the_readme_is_answered
README     | eval                     | engine/test_retraining.py::by_hand
access     | penstock:                | unit/modules/test_settings.py::test_every_setting_that_the_pages_show
access     | python -c                | unit/modules/test_snippets.py::test_the_command_for_a_token_makes_one
gcp        | SELECT                   | not run: nothing here speaks BigQuery and there is no bill; see its labels below
gcp        | budget:                  | google/test_environment.py::test_the_stages_that_the_page_shows
gitops     | make plan                | google/test_gitops_tools.py::test_every_command_of_a_document
gitops     | pulumi config            | google/test_gitops_tools.py::test_every_command_of_a_document
gitops     | import pulumi            | google/test_gitops.py::test_the_program_of_the_document
gitops     | from penstock            | google/test_gitops.py::test_the_programs_of_the_document
index      | make up                  | unit/modules/test_pages.py::test_every_make_target
kubernetes | config:                  | unit/modules/test_kubernetes_documentation.py::test_the_stack_file
kubernetes | pulumi config            | unit/modules/test_kubernetes_documentation.py::test_every_command_is_one
kubernetes | make cluster             | unit/modules/test_kubernetes_documentation.py::test_every_command_is_one
kubernetes | rules:                   | pods/costly/test_autoscaling.py::test_replicas_follow_what_the_hpa
notebooks  | make notebook            | notebook/test_lab.py::test_the_lab_is_on_the_loopback_address
operating  | penstock doctor          | infra/test_command.py::test_the_commands_of_the_page
policy     | make plan                | google/test_gitops_tools.py::test_every_command_of_a_document
policy     | pulumi                   | google/test_gitops_tools.py::test_every_command_of_a_document
policy     | {"price-ceiling          | google/test_gitops_tools.py::test_a_program_of_others_has_the_ceiling
problem    |                          | unit/trainer/test_documentation.py::test_the_page_s_problem_and_commands
rest       |                          | contract/test_documentation.py::test_an_example_is_answered_as_shown
reuse      | .venv/bin/python -m pip  | reuse/test_documentation.py::test_every_command_is_one
reuse      | trainer/                 | reuse/test_documentation.py::test_every_command_is_one
reuse      | .venv/bin/python tools/  | reuse/test_documentation.py::test_every_command_is_one
reuse      | copier                   | reuse/test_documentation.py::test_every_command_is_one
reuse      | import pulumi            | reuse/test_documentation.py::test_the_python_program
reuse      | name: served             | reuse/test_documentation.py::test_the_yaml_program
rollout    | penstock:                | unit/modules/test_settings.py::test_every_setting_that_the_pages_show
rollout    | GET                      | contract/test_supervisor.py::
rollout    | {"name"                  | contract/test_supervisor.py::
skew       | serving/.venv            | contract/test_skew_documentation.py::
skew       | curl                     | contract/test_skew_documentation.py::test_the_curl_of_the_page
skew       | {"name"                  | contract/test_skew_documentation.py::test_the_curl_of_the_page
skew       | {"text"                  | contract/test_skew_documentation.py::
skew       | pulumi config            | contract/test_skew_documentation.py::test_the_settings_of_a_stack
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
BLOCKS = [
    (page.stem, block)
    for page in PAGES
    for block in re.findall(r"^ *```\w*\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page}: {block[:30]!r}" for page, block in BLOCKS])
def test_every_block_of_a_page_has_a_test_or_a_reason(page, block):
    fitting = [row for row in ROWS if row[0] == page and block.startswith(row[1])]
    assert len(fitting) == 1, fitting


@pytest.mark.parametrize(("page", "beginning", "runner"), ROWS, ids=[" ".join(row[:2]) for row in ROWS])
def test_every_test_that_is_named_is_there_and_reads_the_page(page, beginning, runner):
    assert any(each == page and block.startswith(beginning) for each, block in BLOCKS), "no page shows that any more"
    if runner.startswith("not run: "):
        return
    file, _, name = runner.partition("::")
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
