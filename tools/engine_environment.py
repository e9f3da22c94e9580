"""The environment variables that `pulumi` is given here; one that the person has set is left alone."""

import os
import secrets
from pathlib import Path

from common import PROJECT
from pulumi_cli import PulumiCli


def home() -> Path:
    """Where state, artifacts and logs lie: `.penstock`, or what PENSTOCK_HOME names."""
    return Path(os.environ.get("PENSTOCK_HOME") or PROJECT / ".penstock").absolute()


def own_backend() -> Path | None:
    """The folder of the state, when it is the project's own."""
    folder = home() / "state"
    return folder if os.environ.get("PULUMI_BACKEND_URL", f"file://{folder}") == f"file://{folder}" else None


def variables(cli: PulumiCli) -> dict[str, str]:
    """What to set beside the present environment; makes the state's folder and the passphrase."""
    folder = own_backend()
    found: dict[str, str] = {}
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        found["PULUMI_BACKEND_URL"] = f"file://{folder}"
    if not any(os.environ.get(name) for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")):
        found["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(_passphrase())
    if str(cli.folder) not in os.environ["PATH"].split(os.pathsep):
        found["PATH"] = f"{cli.folder}{os.pathsep}{os.environ['PATH']}"
    found["PULUMI_SKIP_UPDATE_CHECK"] = "1"
    # The passphrase's salt is in the state, so the stack's configuration file need not be changed to hold it.
    found["PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER"] = "true"
    if cli.built:
        found["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return found


def _passphrase() -> Path:
    file = home() / "passphrase"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as target:
            target.write(secrets.token_urlsafe(32))
    return file
