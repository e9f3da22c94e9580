"""`python -m penstock_serving.skew --model DIR --observations DIR`: has what arrives moved from what was learnt?

Compares the windows that servers of the model have written, all replicas together. Exit code 0: quiet; 1: skew; 2: the
input is at fault, or too few rows to tell. With `--tell`, for a job that runs again and again, the environment's
PENSTOCK_ALERT_WEBHOOK is posted to when skew begins, spreads or ends.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from penstock_serving.seal import SealedModel
from penstock_serving.skew.arguments import add_rules, rules_of, webhook_of
from penstock_serving.skew.monitor import alert_of, message, read_watch
from penstock_serving.skew.watching import Verdict
from penstock_serving.skew.windows import WindowFolder
from penstock_trainer.errors import InputError

QUIET, SKEW, INPUT_AT_FAULT = 0, 1, 2
DIGITS = 12


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the verdict, and return the exit code that says it."""
    parser = _Parser(prog="python -m penstock_serving.skew", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="directory of the sealed model")
    parser.add_argument("--observations", type=Path, required=True, help="folder of the windows")
    parser.add_argument("--json", action="store_true", help="print all measures and distributions as JSON")
    parser.add_argument("--tell", action="store_true", help="post to PENSTOCK_ALERT_WEBHOOK what is new")
    parser.add_argument(
        "--name", default="model", help="what the webhook is told that the model is called (%(default)s)"
    )
    parser.add_argument("--waiting-is-quiet", action="store_true", help="exit code 0 where too few rows tell nothing")
    add_rules(parser)
    try:
        arguments = parser.parse_args(argv)
        sealed = SealedModel.open(arguments.model)
        watch = read_watch(sealed, rules_of(arguments))
        folder = WindowFolder(arguments.observations)
        windows = {key: folder.outline(key, sealed.digest) for key in folder.keys(sealed.digest)}
        webhook = webhook_of(os.environ) if arguments.tell else None
        verdict = watch.judge(windows, lambda key: folder.read(key, sealed.digest))
        if verdict.status == "waiting":
            said = _waiting(arguments.observations, verdict, sealed.digest, bool(windows))
            if arguments.waiting_is_quiet:
                print(said)
                return QUIET
            raise InputError(said)
    except InputError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return INPUT_AT_FAULT
    if arguments.json:
        print(json.dumps(verdict.to_json(), indent=1))
    else:
        print("\n".join(verdict.said) or f"quiet: no column moved ({verdict.stretches[-1].window.rows} rows looked at)")
    if webhook is not None:
        version = sealed.digest.removeprefix("sha256:")[:DIGITS]
        alert = alert_of(arguments.observations, webhook, sealed.digest)
        delivery = alert.tell(*message(verdict, arguments.name, version, sealed.digest))
        if delivery is not None:
            delivery.join()
        if alert.failed and not alert.delivered:
            print("error: the webhook could not be told", file=sys.stderr)
    return SKEW if verdict.status == "skew" else QUIET


def _waiting(folder: Path, verdict: Verdict, digest: str, any_window: bool) -> str:
    if not any_window:
        return f"{folder} has no window of the model {digest}"
    return f"{folder} has {verdict.waiting_rows} rows, expected at least {verdict.watch.rules.minimum_rows}"


if __name__ == "__main__":
    sys.exit(main())
