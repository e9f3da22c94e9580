"""How what an endpoint receives is compared with what its model was trained on."""

from collections.abc import Sequence

import pulumi
from typing_extensions import NotRequired, TypedDict

WEBHOOK = "PENSTOCK_ALERT_WEBHOOK"
"""Where a server looks for the URL, which is a secret more often than not."""


class MonitoringArgs(TypedDict):
    """When a difference is skew, and who is told; what is left out takes the server's own default."""

    window_seconds: NotRequired[float]
    """Length of a window; 0 observes nothing. Default: 300."""
    minimum_rows: NotRequired[int]
    """Rows that a comparison takes; smaller windows wait for the next ones. Default: 200."""
    windows_in_a_row: NotRequired[int]
    """So many windows one after the other have to differ. Default: 2."""
    ignored: NotRequired[Sequence[str]]
    """Columns that are compared and shown but alert nobody, as those of the calendar. Default: none."""
    webhook: NotRequired[pulumi.Input[str] | None]
    """URL that is told when skew begins and ends; kept as a secret. Default: none."""


class Monitoring(pulumi.ComponentResource):
    """Every replica of an endpoint counts what it answers; all of them are judged together, and one of them tells."""

    arguments: list[str]
    """What the endpoint's servers are started with."""
    environment: dict[str, pulumi.Output[str]]
    """What is in their environment besides."""

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("penstock:index:Monitoring", name, None, opts)
        self.arguments = []
        for argument in ("window_seconds", "minimum_rows", "windows_in_a_row"):
            value = args.get(argument)
            if value is not None:
                self.arguments += [f"--{argument.replace('_', '-')}", str(value)]
        for column in args.get("ignored", ()):
            self.arguments += ["--skew-ignore", column]
        webhook = args.get("webhook")
        self.environment = {WEBHOOK: pulumi.Output.secret(webhook)} if webhook else {}
        self.register_outputs({"arguments": self.arguments})
