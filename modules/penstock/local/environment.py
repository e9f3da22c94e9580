"""The environment that stages and servers get."""

from collections.abc import Mapping


def without_pulumi(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what belongs to the Pulumi run: its passphrase, its configuration, its Python."""
    dropped = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(("PULUMI_", "GRPC_")) and name not in dropped
    }
