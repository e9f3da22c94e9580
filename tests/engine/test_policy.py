"""The local stack judged by the policy pack, and the tools that a pull request and the night call."""

import os
import signal
import subprocess


def tool(served, *command, expected=0):
    done = subprocess.run(
        [".venv/bin/python", *command],
        cwd=served.root,
        env=served.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_local_stack_breaks_no_rule_and_a_pull_request_gets_its_price(served, tmp_path):
    served.run("up")
    told = tool(served, "tools/plan.py", "local", "--comment", str(tmp_path / "comment.md"))
    assert "✅ penstock@" in told
    text = (tmp_path / "comment.md").read_text()
    assert text.startswith("### `local`: nothing changes\n")
    assert "Price: runs on this machine; nothing is rented." in text


def test_a_plan_that_fails_is_refused_with_what_was_wrong(served):
    served.configure(port=80)
    told = tool(served, "tools/plan.py", "local", expected=1)
    assert "error: setting 'port' is 80" in told or "setting 'port' is '80'" in told
    served.configure()


def test_what_is_as_it_was_deployed_has_not_drifted_and_a_server_that_is_gone_becomes_an_issue(served, tmp_path):
    served.run("up")
    issue = tmp_path / "issue.md"
    assert "local: nothing has drifted" in tool(served, "tools/drift.py", "local", "--issue", str(issue))
    assert not issue.exists()
    os.kill(int(served.deployment()["flow-serve-server"]["outputs"]["pid"]), signal.SIGKILL)
    told = tool(served, "tools/drift.py", "local", "--issue", str(issue), expected=1)
    text = issue.read_text()
    assert text in told
    assert "- `pulumi-python:dynamic/penstock:LocalService flow-serve-server` was changed" in text
    assert "`make up STACK=local` undoes it" in text
    served.run("up")
