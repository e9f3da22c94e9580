"""`python -m penstock_serving.skew --model DIR --observations DIR`: has what arrives moved from what was learnt?

Compares the windows that servers of the model have written, all replicas together. Exit code 0: quiet; 1: skew; 2: the
input is at fault, or too few rows to tell.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from penstock_serving.seal import SealedModel
from penstock_serving.skew.arguments import add_rules, rules_of
from penstock_serving.skew.monitor import read_watch
from penstock_serving.skew.windows import WindowFolder
from penstock_trainer.errors import InputError

QUIET, SKEW, INPUT_AT_FAULT = 0, 1, 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the verdict, and return the exit code that says it."""
    parser = _Parser(prog="python -m penstock_serving.skew", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="directory of the sealed model")
    parser.add_argument("--observations", type=Path, required=True, help="folder of the windows")
    parser.add_argument("--json", action="store_true", help="print all measures and distributions as JSON")
    add_rules(parser)
    try:
        arguments = parser.parse_args(argv)
        sealed = SealedModel.open(arguments.model)
        watch = read_watch(sealed, rules_of(arguments))
        folder = WindowFolder(arguments.observations)
        windows = {key: folder.read(key, sealed.digest) for key in folder.keys(sealed.digest)}
        if not windows:
            raise InputError(f"{arguments.observations} has no window of the model {sealed.digest}")
        verdict = watch.judge(windows)
        if verdict.status == "waiting":
            rows = verdict.waiting_rows
            raise InputError(f"{arguments.observations} has {rows} rows, expected at least {watch.rules.minimum_rows}")
    except InputError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return INPUT_AT_FAULT
    if arguments.json:
        print(json.dumps(verdict.to_json(), indent=1))
    else:
        print("\n".join(verdict.said) or f"quiet: no column moved ({verdict.stretches[-1].window.rows} rows looked at)")
    return SKEW if verdict.status == "skew" else QUIET


if __name__ == "__main__":
    sys.exit(main())
