"""What `make env`, `make up` and `make down` run, in the infrastructure environment."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import engine_environment
import events
import google_stack
import interrupted
import pulumi_cli
import settings_check
from common import PROJECT, ToolError, say
from settings import SettingsError


def env(stack: str) -> None:
    """Prints what a shell must export for `pulumi up -s STACK` to work by hand, and makes the stack."""
    Pulumi(stack).select()
    cli = pulumi_cli.prepare()
    for name, value in engine_environment.variables(cli).items():
        quoted = f'{shlex.quote(str(cli.folder))}:"$PATH"' if name == "PATH" else shlex.quote(value)
        print(f"export {name}={quoted}")


def up(stack: str) -> None:
    """Carries the data all the way to the endpoint, and prints the stack's outputs."""
    environment = google_stack.chosen(settings_check.check(stack))
    pulumi = Pulumi(stack)
    pulumi.select()
    pulumi.continue_after_interruption()
    if environment is not None:
        google_stack.before_up(environment, pulumi.captured)
    code = pulumi.interactive("up", "--yes", "--skip-preview", "--suppress-outputs")
    if code != 0:
        say(f"not finished (exit code {code}); what is sealed stays, and `make up` continues from there")
        sys.exit(1)
    outputs = json.loads(pulumi.captured("stack", "output", "--json"))
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
    code = pulumi.interactive("destroy", "--yes", "--skip-preview")
    if code != 0:
        raise ToolError(f"not everything was removed (exit code {code}); see above, then run `make down` again")
    pulumi.captured("stack", "rm", "--yes", "--preserve-config")
    backend = engine_environment.own_backend()
    if backend and not list((backend / ".pulumi" / "stacks").glob("**/*.json")):
        shutil.rmtree(backend)
        (engine_environment.home() / "passphrase").unlink(missing_ok=True)
    home = engine_environment.home()
    kept = sorted(path.name for path in (home / stack / "artifacts").glob("*"))
    environment = google_stack.chosen(settings_check.check(stack))
    if environment is not None:
        google_stack.after_down(stack, environment)
    say(f"stack {stack} is gone" + (f"; kept in {home / stack / 'artifacts'}: {', '.join(kept)}" if kept else ""))
    if home.is_dir() and not list(home.iterdir()):
        home.rmdir()


class Pulumi:
    """The CLI, on one stack of this project."""

    def __init__(self, stack: str) -> None:
        self._stack = stack
        self._cli = pulumi_cli.prepare()
        self._environment = {**os.environ, **engine_environment.variables(self._cli)}

    def exists(self) -> bool:
        """Whether the backend knows the stack."""
        backend = engine_environment.own_backend()
        if backend:
            return bool(list((backend / ".pulumi" / "stacks").glob(f"**/{self._stack}.json")))
        stacks = json.loads(self._run("stack", "ls", "--json").stdout or "[]")
        return any(stack["name"] in (self._stack, self._stack.rpartition("/")[2]) for stack in stacks)

    def select(self) -> None:
        """Makes the stack where there is none yet."""
        if not self.exists():
            self.captured("stack", "init", self._stack, stack_option=False)
            self._drop_salt()

    def continue_after_interruption(self) -> None:
        """Puts the stack right after a run that was killed."""
        interrupted.release_lock(self._stack)
        exported: dict[str, Any] = json.loads(self.captured("stack", "export"))
        names = interrupted.forget_pending(exported["deployment"])
        if names:
            self.captured("stack", "import", text=json.dumps(exported))
            say(f"the last run was killed while it worked on {', '.join(names)}: done again from there")

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
            self._drop_salt()

    def watched(self, *arguments: str) -> tuple[int, events.Events]:
        """Runs a command whose output the person sees; its exit code, and what the engine told of it."""
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "events.jsonl"
            # The engine's log of events, which Pulumi's Automation API reads too, is among the options for debugging.
            self._environment["PULUMI_DEBUG_COMMANDS"] = "true"
            code = self.interactive(*arguments, "--non-interactive", "--event-log", str(log))
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

    def _drop_salt(self) -> None:
        """Takes the passphrase's salt out of the tracked configuration file, unless a secret there needs it."""
        file = settings_check.config_file(self._stack)
        text = file.read_text() if file.exists() else ""
        if "secure:" not in text and engine_environment.own_backend():
            kept = re.sub(r"^encryptionsalt:.*\n?", "", text, flags=re.MULTILINE)
            if kept != text and kept.strip() in ("", "{}"):
                file.unlink()
            elif kept != text:
                file.write_text(kept)


def main() -> None:
    """`stack.py env STACK`, `stack.py up STACK`, `stack.py down STACK`."""
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
    except (ToolError, SettingsError) as exc:
        sys.exit(f"error: {exc}")
