"""What the workflows tell people on GitHub, by the `gh` that its runners have; again is as good as once.

github.py comment NUMBER FILE               a pull request's comment; this stack's earlier one is written anew
github.py issue TITLE FILE                  an open issue of that title gets a comment, else there is a new one
github.py promotion SOURCE TARGET FILE      a commit, a branch and a pull request of the working tree, and its checks
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import ToolError

STARTED = ("checks", "preview")
"""GitHub starts no workflow for what a workflow's own token does, but for those that it starts by name."""
ROBOT = ("-c", "user.name=penstock", "-c", "user.email=penstock@users.noreply.github.com")


def comment(number: str, file: Path) -> None:
    """The first line of the file names the stack: a comment that begins with the same is the earlier one."""
    head = file.read_text(encoding="utf-8").partition(":")[0]
    found = _answered("gh", "api", "--paginate", f"repos/{{owner}}/{{repo}}/issues/{number}/comments")
    earlier = [each["id"] for each in found if each["body"].startswith(f"{head}:")]
    if earlier:
        path = f"repos/{{owner}}/{{repo}}/issues/comments/{earlier[-1]}"
        _run("gh", "api", "--method", "PATCH", path, "--field", f"body=@{file}")
    else:
        _run("gh", "pr", "comment", number, "--body-file", str(file))


def issue(title: str, file: Path) -> None:
    """An issue of the title."""
    found = _answered("gh", "issue", "list", "--state", "open", "--limit", "1000", "--json", "number,title")
    open_ = [str(each["number"]) for each in found if each["title"] == title]
    if open_:
        _run("gh", "issue", "comment", open_[0], "--body-file", str(file))
    else:
        _run("gh", "issue", "create", "--title", title, "--body-file", str(file))


def promotion(source: str, target: str, file: Path) -> None:
    """Nothing where the message is empty: there was nothing to move."""
    text = file.read_text(encoding="utf-8").strip()
    if not text:
        print(f"{target} has all that {source} has")
        return
    branch = f"promote-{source}-to-{target}"
    _run("git", "checkout", "-B", branch)
    _run("git", *ROBOT, "commit", "--message", text, "--", f"stacks/Pulumi.{target}.yaml")
    # The token comes by gh's own credential helper, and is in no file.
    _run("git", "-c", "credential.helper=!gh auth git-credential", "push", "--force", "origin", branch)
    listed = ("gh", "pr", "list", "--head", branch, "--state", "open", "--json", "number")
    if not (found := _answered(*listed)):
        title, _, body = text.partition("\n")
        _run("gh", "pr", "create", "--head", branch, "--title", title, "--body", body.strip())
        found = _answered(*listed)
    if not found:
        raise ToolError(f"there is no open pull request of {branch}: its checks cannot be started")
    for workflow in STARTED:
        _run(
            "gh", "workflow", "run", f"{workflow}.yml", "--ref", branch, "--field", f"pull_request={found[0]['number']}"
        )


def _answered(*command: str) -> Any:
    return json.loads(_run(*command) or "[]")


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise ToolError(f"cannot run {command[0]}: {exc.strerror}") from exc
    if done.returncode != 0:
        raise ToolError(f"`{' '.join(command[:3])}` failed: {done.stderr.strip()}")
    return done.stdout


def main() -> None:
    """One of the three."""
    match sys.argv[1:]:
        case ["comment", number, file]:
            comment(number, Path(file))
        case ["issue", title, file]:
            issue(title, Path(file))
        case ["promotion", source, target, file]:
            promotion(source, target, Path(file))
        case arguments:
            raise ToolError(f"github.py takes comment, issue or promotion; not {' '.join(arguments)!r}")


if __name__ == "__main__":
    try:
        main()
    except ToolError as exc:
        sys.exit(f"error: {exc}")
