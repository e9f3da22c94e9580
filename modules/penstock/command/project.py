"""A Pulumi project: its folder, where its state lies, and the environment variables that `pulumi` is given here."""

import json
import os
import re
import secrets
from pathlib import Path
from typing import Any, cast

import yaml

from penstock.command.cli import PulumiCli, find
from penstock.errors import PenstockError

FILES = ("Pulumi.yaml", "Pulumi.yml")
NO_PLUGINS = "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"


class Project:
    """One project, by its folder; a variable that the person has set is left alone."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def around(cls, folder: Path) -> "Project":
        """The project that a folder is in."""
        for place in (folder, *folder.parents):
            if any((place / name).is_file() for name in FILES):
                return cls(place)
        raise PenstockError(f"there is no {FILES[0]} in {folder} or above it: run this inside a Pulumi project")

    @property
    def home(self) -> Path:
        """Where state, artifacts and logs lie: `.penstock`, or what PENSTOCK_HOME names."""
        return Path(os.environ.get("PENSTOCK_HOME") or self.root / ".penstock").absolute()

    @property
    def backend(self) -> Path | None:
        """The folder of the state, when it is the project's own; it need not be there yet."""
        folder = self.home / "state"
        named = os.environ.get("PULUMI_BACKEND_URL", f"file://{folder}").partition("?")[0]
        return folder if named == f"file://{folder}" else None

    @property
    def cli(self) -> PulumiCli | None:
        """The CLI that is there, if there is one."""
        return find(self.root / ".tools" / "pulumi")

    def prepare(self) -> None:
        """Makes the state's folder and the passphrase, where they are the project's own."""
        if self.backend is not None:
            self.backend.mkdir(parents=True, exist_ok=True)
        if not _has_passphrase() and not self._passphrase.exists():
            self._passphrase.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(self._passphrase, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as target:
                target.write(secrets.token_urlsafe(32))

    def variables(self, cli: PulumiCli) -> dict[str, str]:
        """What to set beside the present environment."""
        found: dict[str, str] = {}
        if self.backend is not None and self.backend.is_dir():
            # The files of metadata that Pulumi would keep beside are not replaced atomically: an empty one, which a run
            # that is killed may leave, makes the state unreadable.
            found["PULUMI_BACKEND_URL"] = f"file://{self.backend}?metadata=skip"
        if not _has_passphrase() and self._passphrase.exists():
            found["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(self._passphrase)
        if str(cli.folder) not in os.environ["PATH"].split(os.pathsep):
            found["PATH"] = f"{cli.folder}{os.pathsep}{os.environ['PATH']}"
        found["PULUMI_SKIP_UPDATE_CHECK"] = "1"
        # The passphrase's salt is in the state, so the stack's configuration file need not be changed to hold it.
        found["PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER"] = "true"
        if cli.built:
            found[NO_PLUGINS] = "true"
        return found

    def config_file(self, stack: str) -> Path:
        """Where a stack's configuration lies."""
        return self.root / self.settings.get("stackConfigDir", ".") / f"Pulumi.{stack.rpartition('/')[2]}.yaml"

    @property
    def settings(self) -> dict[str, Any]:
        """What the project's own file says."""
        file = next(self.root / name for name in FILES if (self.root / name).is_file())
        return _load(file)

    def config(self, file: Path) -> dict[str, str]:
        """A stack's configuration with the project's defaults, as Pulumi would give it; without its secrets."""
        project = self.settings
        declared: dict[str, Any] = project.get("config") or {}
        own: dict[str, Any] = _load(file).get("config") or {}
        found = {f"{project['name']}:{key}": _text(entry["default"]) for key, entry in declared.items()}
        return found | {key: _text(value) for key, value in _public(own).items()}

    def setting(self, stack: str, key: str) -> str | None:
        """One of the project's own settings; None where it is not set."""
        return self.config(self.config_file(stack)).get(f"{self.settings['name']}:{key}")

    def drop_salt(self, stack: str) -> None:
        """Takes the passphrase's salt out of the tracked configuration file, unless a secret there needs it."""
        file = self.config_file(stack)
        text = file.read_text() if file.exists() else ""
        if "secure:" in text or self.backend is None:
            return
        kept = re.sub(r"^encryptionsalt:.*\n?", "", text, flags=re.MULTILINE)
        if kept != text and kept.strip() in ("", "{}"):
            file.unlink()
        elif kept != text:
            file.write_text(kept)

    def forget_passphrase(self) -> None:
        """Removes it, unless a stack's configuration has secrets, which nothing else opens."""
        files = self.config_file("any").parent.glob("Pulumi.*.yaml")
        if not any("encryptionsalt:" in file.read_text() for file in files):
            self._passphrase.unlink(missing_ok=True)

    @property
    def _passphrase(self) -> Path:
        return self.home / "passphrase"


def _has_passphrase() -> bool:
    return any(os.environ.get(name) for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"))


def _load(file: Path) -> dict[str, Any]:
    return (yaml.safe_load(file.read_text()) or {}) if file.exists() else {}


def _public(values: dict[str, Any]) -> dict[str, Any]:
    """All but what is encrypted, however deep it lies."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if not isinstance(value, dict):
            found[key] = value
        elif "secure" not in value:
            found[key] = _public(cast(dict[str, Any], value))
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
