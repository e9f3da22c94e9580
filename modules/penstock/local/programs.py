"""The two programs on this machine: in which environment each is installed, and a digest of what is installed there."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import PenstockError
from penstock.local import fingerprint
from penstock.platform import Program

MODULES = {Program.TRAINER: "penstock_trainer", Program.SERVER: "penstock_serving"}
NEEDED = {
    Program.TRAINER: "penstock-trainer[tensorflow,beam,tune,signing,curves]",
    Program.SERVER: "penstock-serving",
}
# Run in the environment: where each module lies (null: nowhere), and what is installed.
_LOOK = """
import importlib.metadata, importlib.util, json, sys
found = {name: importlib.util.find_spec(name) for name in sys.argv[1:]}
places = {name: spec and [*(spec.submodule_search_locations or [spec.origin])] for name, spec in found.items()}
installed = sorted({f"{each.name}=={each.version}" for each in importlib.metadata.distributions()})
print(json.dumps({"places": places, "installed": installed}))
"""


@dataclass(frozen=True)
class Installed:
    """A program in its environment."""

    program: Program
    python: Path
    checkout: Path | None
    """The folder of its sources and lock, where it runs from a checkout of this project."""

    def command(self, module: str = "") -> list[str]:
        """The argv that starts it, or one of its modules, such as `.supervisor`."""
        return [str(self.python), "-m", MODULES[self.program] + module]

    def fingerprint(self, modules: Sequence[str] = ()) -> str:
        """The digest of its code, of what that runs with, and of the packages that `modules` are in.

        Raises:
            PenstockError: its environment lacks it, or one of the packages.
        """
        # The server runs on the trainer's light core.
        own = sorted({MODULES[self.program], MODULES[Program.TRAINER]})
        if self.checkout is not None and not modules:
            folders = [self.checkout.parent / each.value / MODULES[each] for each in (self.program, Program.TRAINER)]
            return fingerprint.of_sources(dict.fromkeys(folders), self.checkout / "requirements.txt")
        packages = sorted({module.partition(".")[0] for module in modules})
        done = subprocess.run(
            [self.python, "-c", _LOOK, *own, *packages], capture_output=True, text=True, check=False, cwd="/"
        )
        if done.returncode != 0:
            raise PenstockError(f"{self.python} does not run: {done.stderr.strip()}")
        found = json.loads(done.stdout.splitlines()[-1])
        for package in own:
            if not found["places"][package]:
                raise PenstockError(
                    f"{self.python} has no {package}: `{self.python} -m pip install '{NEEDED[self.program]}'`"
                )
        for package in packages:
            if not found["places"][package]:
                raise PenstockError(
                    f"{self.python} has no module {package!r}, which the setting `problem` names: install your package "
                    f"there, for example by `{self.python} -m pip install --editable .`"
                )
        places = [Path(place) for of in found["places"].values() for place in of]
        return fingerprint.of_sources(places, found["installed"])


def find(program: Program, project: Path, named: Path | None) -> Installed:
    """The program as `named` (an environment's folder, or its Python), else in the first place that has it.

    Looked into: the environment that PENSTOCK_TRAINER or PENSTOCK_SERVING names, `trainer/.venv` or `serving/.venv` of
    the project, the environment of the Pulumi program itself.

    Raises:
        PenstockError: it is nowhere; the message names the places, and how to make an environment.
    """
    variable = f"PENSTOCK_{program.value.upper()}"
    usual = project / program.value / ".venv"
    given = named or (Path(os.environ[variable]) if os.environ.get(variable) else None)
    if given is not None:
        python = _python(project / given.expanduser())
        if python is None:
            raise PenstockError(f"the {program.value} environment is not there: {given} is no Python environment")
        return Installed(program, python, None)
    python = _python(usual)
    if python is not None:
        lies_here = (usual.parent / MODULES[program]).is_dir() and (usual.parent / "requirements.txt").is_file()
        return Installed(program, python, usual.parent if lies_here else None)
    if importlib.util.find_spec(MODULES[program]) is not None:
        return Installed(program, Path(sys.executable), None)
    raise PenstockError(
        f"the {program.value} environment is not there ({usual}); `make up` makes it in a checkout of Penstock, "
        f"elsewhere `python -m venv {usual} && {usual}/bin/python -m pip install '{NEEDED[program]}'`. One in another "
        f"place is named by `LocalPlatform({program.value}=...)` or by {variable}"
    )


def _python(place: Path) -> Path | None:
    """The Python of an environment, or the one that is named itself."""
    for candidate in (place / "bin" / "python", place):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    return None
