"""The command-line arguments of the watching, shared by the server and by `python -m penstock_serving.skew`."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

from penstock_serving.skew.alert import ENVIRONMENT
from penstock_serving.skew.comparison import Rules
from penstock_serving.skew.monitor import Monitoring
from penstock_trainer.errors import InputError

URL = re.compile("https?://[!-~]+")


def add_rules(parser: argparse.ArgumentParser) -> None:
    """The arguments that make up `Rules`."""
    rules = Rules()
    parser.add_argument(
        "--minimum-rows", type=int, default=rules.minimum_rows, help="rows that a comparison takes (%(default)s)"
    )
    parser.add_argument(
        "--windows-in-a-row", type=int, default=rules.windows_in_a_row, help="that have to say so (%(default)s)"
    )
    parser.add_argument(
        "--skew-ignore", metavar="COLUMN", action="append", default=[], help="compare it, but never alert; may repeat"
    )


def rules_of(arguments: argparse.Namespace) -> Rules:
    """The rules that the arguments state.

    Raises:
        InputError: a number is not positive.
    """
    _check(arguments, "minimum_rows", "windows_in_a_row")
    return Rules(arguments.minimum_rows, arguments.windows_in_a_row, ignored=frozenset(arguments.skew_ignore))


def add_monitoring(parser: argparse.ArgumentParser) -> None:
    """The arguments that make up `Monitoring`."""
    settings = Monitoring()
    group = parser.add_argument_group(
        "skew",
        f"what arrives is compared with the training rows; {ENVIRONMENT} in the environment names a webhook to alert",
    )
    group.add_argument("--observations", type=Path, metavar="DIR", help="keep windows here (default: in memory)")
    group.add_argument(
        "--window-seconds", type=float, default=settings.window_seconds, help="of a window; 0: off (%(default)s)"
    )
    group.add_argument(
        "--kept-windows", type=int, default=settings.kept_windows, help="of a model, in the folder (%(default)s)"
    )
    add_rules(parser)


def monitoring_of(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Monitoring | None:
    """What the arguments and the environment state; None where nothing is to be observed.

    Raises:
        InputError: a number is out of range, or the webhook is no URL.
    """
    rules = rules_of(arguments)
    _check(arguments, "kept_windows")
    if not 0 <= arguments.window_seconds <= 86400:
        raise InputError(f"--window-seconds is {arguments.window_seconds}, expected 0 (off) to 86400")
    webhook = webhook_of(environment)
    if not arguments.window_seconds:
        return None
    return Monitoring(arguments.observations, arguments.window_seconds, arguments.kept_windows, webhook, rules)


def webhook_of(environment: Mapping[str, str]) -> str | None:
    """The URL that is told of skew, if there is one.

    Raises:
        InputError: it is no URL.
    """
    webhook = environment.get(ENVIRONMENT) or None
    if webhook is not None and not URL.fullmatch(webhook):  # it may be a secret, so it is not repeated
        raise InputError(f"{ENVIRONMENT} is no URL that begins with http:// or https://, in ASCII without spaces")
    return webhook


def _check(arguments: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}, expected 1 or more")
