"""The command `penstock` on a running stack; what changes the model is in tests/engine/own/test_traffic.py."""

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

PAGE = (CHECKOUT / "docs/operating.md").read_text(encoding="utf-8")
SNIPPET = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)[0].splitlines()


@pytest.fixture(scope="module", autouse=True)
def _up(served):
    """The stack as it was, whatever a test before it left."""
    served.configure()
    served.run("up")


def test_status_tells_of_every_stage_of_the_processes_and_of_who_answers(served):
    said = served.operate("status")
    outputs, server = served.outputs(), served.deployment()["flow-serve-server"]["outputs"]
    for stage in ("flow-preprocess-raw", "flow-preprocess-dataset", "flow-tune-study", "flow-train-model"):
        assert stage in said
    for kind in ("dataset", "study", "model"):
        assert outputs[f"{kind}_digest"].removeprefix("sha256:")[:12] in said
    assert "6,000 rows" in said
    assert f"auc {outputs['metrics']['test']['auc']:.4f}" in " ".join(said.split())
    (worker,) = served.processes().keys() - {int(server["pid"])}
    assert f"supervisor pid {server['pid']:.0f}, workers {worker}" in said
    assert f"{outputs['model_digest'].removeprefix('sha256:')[:12]}  100%" in said


def test_logs_are_those_of_the_stage_and_role_that_were_asked_for(served):
    said = served.operate("logs", "tune", "trial", "-n", "5").splitlines()
    log = (served.stack_folder / "logs/flow-tune-study/trial-0.log").read_text(errors="replace").splitlines()
    assert said == [f"flow-tune-study/trial-0 | {line}" for line in log[-5:]]
    assert "it has: flow-preprocess-raw (chief-0" in served.operate("logs", "tuning", expected=1)


def test_logs_that_are_followed_tell_what_the_server_says_next_until_ctrl_c(served, tmp_path):
    log = Path(served.deployment()["flow-serve-server"]["outputs"]["log"])
    command = [CHECKOUT / ".venv/bin/penstock", "logs", "serve", "-n", "0", "--follow"]
    told, errors = tmp_path / "told", tmp_path / "errors"
    with told.open("w") as out, errors.open("w") as err:
        following = subprocess.Popen(
            command,
            cwd=served.root,
            env=served.environment(),
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=_hear_ctrl_c,
        )
    try:
        deadline = time.monotonic() + 60
        while not told.read_text() and time.monotonic() < deadline:
            assert following.poll() is None, errors.read_text()
            # A worker that is started in the place of one that is gone leaves lines in the log.
            os.kill(_workers(served)[0], signal.SIGKILL)
            time.sleep(2)
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 130
    finally:
        following.kill()
        following.wait()
    assert errors.read_text() == ""
    said = told.read_text().splitlines()
    assert said
    assert {line.removeprefix("flow-serve-server/server | ") for line in said} <= set(log.read_text().splitlines())


def _hear_ctrl_c() -> None:
    """A terminal's processes do; what a shell starts in the background ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _workers(served) -> list[int]:
    found: list[int] = []
    while not found:
        found = [pid for pid, line in served.processes().items() if "-m penstock_serving.worker" in line]
    return found


def test_doctor_names_each_thing_that_is_missing_and_its_cure(served):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        served.configure(port=port, problem="nowhere.py")
        (served.root / "serving").rename(served.root / "elsewhere")
        try:
            said = served.operate("doctor", expected=1)
        finally:
            (served.root / "elsewhere").rename(served.root / "serving")
            served.configure()
    assert f"MISSING  port {port} (port): used by" in said
    assert f"pid {os.getpid()}" in said
    assert f"`pulumi config set port {port + 1} -s local`" in said
    assert "MISSING  serving environment" in said
    assert "nowhere.py is not there" in said
    assert said.count("cure: ") == said.count("MISSING") == 3


@pytest.mark.parametrize("page", ["report", "study_report", "model_card"])
def test_the_pages_that_stages_leave_are_brought_to_where_one_is(served, tmp_path, page):
    served.operate("page", page, "-o", tmp_path / "page.html")
    made = Path(served.outputs()[page].removeprefix("file://"))
    assert (tmp_path / "page.html").read_bytes() == made.read_bytes()
    assert b"<html" in made.read_bytes()


def test_a_stack_that_is_not_there_is_told_with_those_that_are(served):
    assert "there is no stack 'prod'" in served.operate("status", "--stack", "prod", expected=1)
    assert not (served.root / "pulumi-home/workspaces").exists() or "prod" not in _selected(served)


def _selected(served) -> str:
    return "".join(file.read_text() for file in (served.root / "pulumi-home/workspaces").glob("*.json"))


@pytest.mark.parametrize("line", SNIPPET)
def test_the_commands_of_the_page_on_operating_do_what_it_says(served, line):
    program, *arguments = line.split()
    assert program == "penstock"
    said = served.operate(*arguments)
    told = {
        "doctor": f"port {served.port} (port): used by",
        "status": served.outputs()["console"].removesuffix("/"),
        "logs": "flow-train-model/chief-0 | ",
        "cost": "usd_per_hour: 0\n",
        "verify": "12 passed",
    }
    assert told[arguments[0]] in said


def test_the_page_on_operating_has_a_row_for_every_command(served):
    listed = set(re.findall(r"^\| `(\w+)", PAGE, re.MULTILINE))
    assert listed == set(re.findall(r"^│ (\w+) ", served.operate("--help"), re.MULTILINE))
    assert listed
