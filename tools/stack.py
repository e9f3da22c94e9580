"""What `make env`, `make up` and `make down` run, in the infrastructure environment."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import events
import google_stack
import pulumi_cli
import settings_check
from common import PROJECT, ToolError, say
from settings import Settings, SettingsError

from penstock.command import interrupted
from penstock.command.project import NO_PLUGINS, Project
from penstock.errors import PenstockError
from penstock.gcp.begun import taken_over
from penstock.local import scheduling

HERE = Project(PROJECT)
PACK = PROJECT / "policies"


def env(stack: str) -> None:
    """Prints what a shell must export for `pulumi up -s STACK` to work by hand, and makes the stack."""
    pulumi = Pulumi(stack)
    pulumi.select()
    cli = pulumi_cli.prepare()
    for name, value in {**HERE.variables(cli), **google_stack.variables(pulumi.google)}.items():
        quoted = f'{shlex.quote(str(cli.folder))}:"$PATH"' if name == "PATH" else shlex.quote(value)
        print(f"export {name}={quoted}")


def up(stack: str) -> None:
    """Carries the data all the way to the endpoint, and prints the stack's outputs."""
    settings = settings_check.check(stack)
    # Nothing but this machine's own processes needs no judge and no cloud's plugin, and is there the sooner.
    how = ["--skip-preview"] if settings.platform == "local" else judged_by_the_pack()
    pulumi = Pulumi(stack, settings)
    pulumi.select()
    pulumi.continue_after_interruption()
    if pulumi.google is not None:
        google_stack.before_up(pulumi.google, pulumi.captured, bool(settings.verify_key))
    code, told = pulumi.watched("up", "--yes", "--suppress-outputs", *how)
    if code != 0:
        say(f"not finished (exit code {code}); what is sealed stays, and `make up` continues from there")
        sys.exit(1)
    outputs = dict(sorted(told.outputs.items()))
    width = max(len(name) for name in outputs)
    for name, value in outputs.items():
        print(f"{name:<{width}}  {value if isinstance(value, str) else json.dumps(value)}")


def down(stack: str) -> None:
    """Ends everything the stack runs and removes what it wrote, but for what its setting `keep` names."""
    pulumi = Pulumi(stack)
    if not pulumi.exists():
        say(f"there is no stack {stack}")
        return
    pulumi.continue_after_interruption()
    if pulumi.google is not None:
        google_stack.before_down(pulumi.captured("stack", "export"))
    code = pulumi.interactive("destroy", "--yes", "--skip-preview")
    # What was not removed is most often in use by what the stack knows nothing of: the list names it.
    if pulumi.google is not None:
        google_stack.after_down(stack, pulumi.google, finished=code == 0)
    if code != 0:
        raise ToolError(f"not everything was removed (exit code {code}); see above, then run `make down` again")
    pulumi.captured("stack", "rm", "--yes", "--preserve-config")
    backend = HERE.backend
    if backend and not list((backend / ".pulumi" / "stacks").glob("**/*.json")):
        shutil.rmtree(backend)
        HERE.forget_passphrase()
    home = HERE.home
    kept = sorted(path.name for path in (home / stack / "artifacts").glob("*"))
    say(f"stack {stack} is gone" + (f"; kept in {home / stack / 'artifacts'}: {', '.join(kept)}" if kept else ""))
    if home.is_dir() and not list(home.iterdir()):
        home.rmdir()


def judged_by_the_pack() -> list[str]:
    """Arguments with which the engine asks the policy pack about every resource."""
    if not (PACK / ".venv").exists():
        raise ToolError("the policy pack's environment is not there; `make plan` makes it")
    return ["--policy-pack", str(PACK)]


def _settings(stack: str) -> Settings | None:
    """The stack's settings; None for those that somebody has to correct."""
    try:
        return settings_check.check(stack)
    except SettingsError as exc:
        say(f"the settings of stack {stack} are wrong, so none of them is gone by: {exc}")
        return None


class Pulumi:
    """The CLI, on one stack of this project."""

    def __init__(self, stack: str, settings: Settings | None = None) -> None:
        """`settings` are read where they are not given."""
        settings = settings or _settings(stack)
        self._stack, self.google = stack, google_stack.chosen(settings) if settings else None
        self._cli = pulumi_cli.prepare()
        HERE.prepare()
        self._environment = {**os.environ, **HERE.variables(self._cli), **google_stack.variables(self.google)}
        if settings and settings.platform == "local":
            # It needs no plugin, and Pulumi would download those of all packages that are installed.
            self._environment[NO_PLUGINS] = "true"

    def exists(self) -> bool:
        """Whether the backend knows the stack."""
        if HERE.backend:
            return bool(self._states())
        stacks = json.loads(self._run("stack", "ls", "--json").stdout or "[]")
        return any(stack["name"] in (self._stack, self._stack.rpartition("/")[2]) for stack in stacks)

    def select(self) -> None:
        """Makes the stack where there is none yet."""
        if not self.exists():
            self.captured("stack", "init", self._stack, stack_option=False)
            HERE.drop_salt(self._stack)

    def continue_after_interruption(self) -> None:
        """Puts the stack right after a run that was killed."""
        for who in interrupted.release_lock(HERE.backend, self._stack) if HERE.backend else []:
            say(f"the last run ({who}) is gone: its lock on stack {self._stack} is released")
        if not self._something_begun():
            return
        before = self.captured("stack", "export")
        exported: dict[str, Any] = json.loads(before)
        begun = taken_over(exported["deployment"], self.google.project) if self.google else []
        names = interrupted.forget_pending(exported["deployment"])
        if names:
            self.captured("stack", "import", text=json.dumps(exported))
            say(f"the last run was killed while it worked on {', '.join(names)}: done again from there")
        if begun:
            targets = [f"--target={urn}" for urn in begun]
            code = self.interactive("refresh", "--yes", "--skip-preview", "--suppress-outputs", *targets)
            if code != 0:
                self.captured("stack", "import", text=before)
                raise ToolError(f"what the last run had begun could not be looked up (exit code {code}); see above")

    def _something_begun(self) -> bool:
        """Whether the last run may have left an operation begun; asking the CLI takes a third of a second."""
        files = self._states()
        return not files or any("pending_operations" in file.read_text(encoding="utf-8") for file in files)

    def _states(self) -> list[Path]:
        """The stack's state, where that is a file of the project's own."""
        backend = HERE.backend
        return list((backend / ".pulumi" / "stacks").glob(f"**/{self._stack}.json")) if backend else []

    def interactive(self, *arguments: str) -> int:
        """Runs a command whose output the person sees; Ctrl-C is for the command, which ends in good order."""
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            command = [self._path(), *arguments, "--stack", self._stack]
            return subprocess.run(
                command,
                cwd=PROJECT,
                env=self._environment,
                check=False,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            ).returncode
        finally:
            signal.signal(signal.SIGINT, previous)
            HERE.drop_salt(self._stack)

    def watched(self, *arguments: str) -> tuple[int, events.Events]:
        """Runs a command whose output the person sees; its exit code, and what the engine told of it."""
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "events.jsonl"
            # The engine's log of events, which Pulumi's Automation API reads too, is among the options for debugging.
            self._environment["PULUMI_DEBUG_COMMANDS"] = "true"
            code = self.interactive(*arguments, "--event-log", str(log))
            return code, events.load(log)

    def captured(self, *arguments: str, text: str | None = None, stack_option: bool = True) -> str:
        """Runs a command for its standard output."""
        done = self._run(*arguments, *(["--stack", self._stack] if stack_option else []), text=text)
        if done.returncode != 0:
            raise ToolError(f"`pulumi {' '.join(arguments)}` failed:\n{done.stderr.strip()}")
        return done.stdout

    def _run(self, *arguments: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self._path(), *arguments, "--non-interactive"],
            cwd=PROJECT,
            env=self._environment,
            input=text or "",
            capture_output=True,
            text=True,
            check=False,
        )

    def _path(self) -> Path:
        return self._cli.folder / "pulumi"


def main() -> None:
    """`stack.py env STACK`, `stack.py up STACK`, `stack.py down STACK`."""
    scheduling.give_way()
    match sys.argv[1:]:
        case ["env", stack]:
            env(stack)
        case ["up", stack]:
            up(stack)
        case ["down", stack]:
            down(stack)
        case arguments:
            raise ToolError(f"stack.py takes env STACK, up STACK or down STACK; not {' '.join(arguments)!r}")


if __name__ == "__main__":
    try:
        main()
    except (ToolError, SettingsError, PenstockError) as exc:
        sys.exit(f"error: {exc}")
