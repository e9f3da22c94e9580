"""One stack by Pulumi's Automation API."""

import os
from pathlib import Path

from pulumi import automation

from penstock.command.project import Project
from penstock.command.state import State
from penstock.errors import PenstockError


class _Workspace(automation.LocalWorkspace):
    def select_stack(self, stack_name: str) -> None:
        """Only that it is there: which stack is selected is for the person to say."""
        names = [each.name for each in self.list_stacks()]
        if stack_name not in names and stack_name.rpartition("/")[2] not in names:
            known = f"known stacks: {', '.join(sorted(names))}" if names else "there is none yet"
            raise PenstockError(f"there is no stack {stack_name!r} in {self.work_dir}: {known}; `make up` makes one")


class Deployed:
    """A stack that is there."""

    def __init__(self, project: Project, name: str) -> None:
        cli = project.cli
        if cli is None:
            raise PenstockError("the Pulumi CLI is missing; `penstock doctor` says more, `make up` installs it")
        # This process is the command's own, and what it starts is `pulumi`.
        os.environ.update(project.variables(cli))
        self.project, self.name = project, name
        self.workspace = _Workspace(work_dir=str(project.root))
        self.automation = automation.Stack.select(name, self.workspace)

    @property
    def state(self) -> State:
        """As it was left by the last `up`."""
        return State(self.name, self.workspace.export_stack(self.name).deployment or {})

    def set(self, key: str, value: str) -> Path:
        """Changes one line of the configuration; its file. Dots in the key lead into objects."""
        self.workspace.set_config(self.name, key, automation.ConfigValue(value), path="." in key)
        self.project.drop_salt(self.name)
        return self.project.config_file(self.name)
