"""The command line: one subcommand a stage. Each runs alone, without Pulumi."""

import argparse
import errno
import faulthandler
import gc
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from penstock_trainer.arithmetic import PRECISIONS, Arithmetic
from penstock_trainer.errors import InputError
from penstock_trainer.membership import EVALUATOR, STRATEGIES, Member, Unreachable
from penstock_trainer.notices import ENDED, Notices, Preempted

BUNDLED = "a bundled problem (flights, ratings), a module (my_package.my_problem) or a .py file; it defines `problem`"
GARBAGE = 50_000
"""Python's 700 has it look for garbage again and again among all that TensorFlow makes as it is imported, a second."""


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; 0 done, 2 the input is at fault, 1 anything else."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    gc.set_threshold(GARBAGE)
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ENDED))
    try:
        options.run(options)
    except KeyboardInterrupt:
        return _error("interrupted; finished stages are kept", 130)
    except Preempted as exc:
        return _error(str(exc), ENDED)
    except Unreachable as exc:
        return _error(str(exc), 1)  # nobody's input: another start may find them all
    except Exception as exc:  # noqa: BLE001 - the process's boundary
        cause = _at_fault(exc)
        if cause is None:
            traceback.print_exc()
            return _error(f"{type(exc).__name__}: {exc}".splitlines()[0], 1)
        return _error(_os_error(cause, options.artifacts) if isinstance(cause, OSError) else str(cause), 2)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="python -m penstock_trainer", description=__doc__)
    stages = top.add_subparsers(dest="stage", required=True, metavar="STAGE")

    def top_level(name: str, help_: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        sub = stages.add_parser(name, help=help_, description=help_)
        sub.set_defaults(run=run)
        sub.add_argument("--artifacts", type=Path, required=True, help="folder that holds all artifacts")
        return sub

    def stage(name: str, help_: str, run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        sub = top_level(name, help_, run)
        sub.add_argument("--problem", required=True, help=BUNDLED)
        return sub

    raw = stage("raw", "write a bundled problem's raw files", run_raw)
    raw.add_argument("--rows", type=_positive, help="only so many, spread evenly (default: all)")
    raw.add_argument("--shards", type=_positive, default=8, help="number of files (default: 8)")
    preprocess = stage("preprocess", "raw files to statistics and shuffled examples, by Apache Beam", run_preprocess)
    preprocess.add_argument(
        "--raw", action="append", required=True, help="CSV or Parquet file, folder of such, or glob; may repeat"
    )
    preprocess.add_argument(
        "--bad-rows-allowed",
        type=_share,
        default=0.001,
        help="fail above this share of malformed rows (default: 0.001)",
    )
    preprocess.add_argument(
        "--processes", type=_positive, help="processes side by side (default: by the files' size, up to one a core)"
    )
    _take_runner(preprocess)
    tune = stage("tune", "search the problem's ranges; start it as often as you want processes", run_tune)
    tune.add_argument("--trials", type=_positive, default=12, help="finished trials in all (default: 12)")
    tune.add_argument("--time-limit", type=_amount, metavar="SECONDS", help="end after so long with what is finished")
    tune.add_argument(
        "--cost-limit",
        type=_amount,
        metavar="USD",
        help="end when the trials' time has cost so much (needs --price)",
    )
    tune.add_argument("--price", type=_amount, metavar="USD_PER_HOUR", help="what an hour of one process costs")
    tune.add_argument(
        "--storage",
        metavar="URL",
        help="postgresql://[user@]host[:port]/database that the processes of several machines share; the password by "
        "PGPASSWORD or PGPASSFILE (default: a journal file for the processes of this machine)",
    )
    train = stage("train", "train on all rows, evaluate, export and seal the model", run_train)
    train.add_argument(
        "--study", type=Path, help="sealed study to take the hyperparameters from (default: the ranges' middles)"
    )
    train.add_argument("--strategy", choices=STRATEGIES, default="local", help="default: local")
    train.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of the layers while training; the exported model is float32 (default: float32)",
    )
    train.add_argument("--xla", action="store_true", help="have XLA compile the steps (default: it does not)")
    train.add_argument(
        "--sign-key", type=Path, metavar="PEM", help="Ed25519 private key that signs the model (default: not signed)"
    )
    compare = stage("compare", "whether a new model takes the place of the one that serves", run_compare)
    compare.add_argument("--dataset", type=Path, required=True, help="sealed dataset that the candidate was trained on")
    compare.add_argument("--candidate", type=Path, required=True, help="sealed model below --artifacts")
    compare.add_argument(
        "--minimum-gain", type=_gain, default=0.0, help="it must be better by more than this (default: 0)"
    )
    curves = top_level("curves", "serve the curves of all trainings, live, by TensorBoard", run_curves)
    curves.add_argument("--host", default="127.0.0.1", help="address to bind (default: 127.0.0.1)")
    curves.add_argument("--port", type=_positive, default=6006, help="port (default: 6006)")
    for sub in (tune, train):
        sub.add_argument("--dataset", type=Path, required=True, help="sealed dataset")
        sub.add_argument("--epochs", type=_positive, default=3, help="passes over all training rows (default: 3)")
    help_ = "answer every row of raw files by a sealed model, by Apache Beam"
    predict = stages.add_parser("predict", help=help_, description=help_)
    predict.add_argument("--model", type=Path, required=True, help="sealed model")
    predict.add_argument(
        "--raw", action="append", required=True, help="CSV or Parquet file, folder of such, or glob; may repeat"
    )
    predict.add_argument(
        "--keep",
        action="append",
        metavar="COLUMN",
        help="input column to write beside the prediction; may repeat (default: those the model reads)",
    )
    predict.add_argument(
        "--processes", type=_positive, help="processes side by side (default: by the files' size, up to one a core)"
    )
    _take_runner(predict)
    predict.add_argument("--output", dest="artifacts", type=Path, required=True, help="folder for the predictions")
    predict.set_defaults(run=run_predict)
    help_ = "what of a sealed artifact does not match, and the chain back to its raw files"
    verify = stages.add_parser("verify", help=help_, description=help_)
    verify.add_argument("--key", type=Path, metavar="PEM", help="public key that must have signed it")
    verify.set_defaults(run=run_verify)
    sign = stages.add_parser("sign", help="sign a sealed artifact", description="sign a sealed artifact")
    sign.add_argument("--key", type=Path, metavar="PEM", required=True, help="Ed25519 private key")
    sign.set_defaults(run=run_sign)
    for sub in (verify, sign):
        sub.add_argument("artifacts", type=Path, metavar="DIR", help="a sealed artifact")
    return top


def run_raw(options: argparse.Namespace) -> None:
    """Stage `raw`."""
    from penstock_trainer import raw

    raw.run_stage(options.problem, options.artifacts, options.rows, options.shards)


def run_preprocess(options: argparse.Namespace) -> None:
    """Stage `preprocess`."""
    from penstock_trainer import preprocess

    preprocess.run_stage(
        options.problem,
        options.raw,
        options.artifacts,
        options.bad_rows_allowed,
        options.processes,
        options.runner,
        options.beam,
    )


def run_tune(options: argparse.Namespace) -> None:
    """Stage `tune`."""
    from penstock_trainer import tune
    from penstock_trainer.study_limits import Limits

    limits = Limits(options.time_limit, options.cost_limit, options.price)
    tune.run_stage(
        options.problem, options.dataset, options.artifacts, options.trials, options.epochs, limits, options.storage
    )


def run_train(options: argparse.Namespace) -> None:
    """Stage `train`: this process's part in it."""
    member, arithmetic = Member.of_this_process(), Arithmetic(options.precision, options.xla)
    if member.role == "ps":
        # oneDNN's allocator doubles what it holds whenever it is full; a server computes nothing.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from penstock_trainer import clusters

    beside = member.role == EVALUATOR  # and no member of the cluster
    if not beside:
        clusters.check(options.strategy, member.cluster)
        arithmetic.check(options.strategy)
    if member.serves:
        clusters.serve(member, Notices(options.artifacts, member))
    from penstock_trainer import evaluator, signing, train

    signer = signing.SigningKey(options.sign_key) if options.sign_key and member.leads else None
    order = train.Order.read(
        options.problem, options.dataset, options.study, options.artifacts, options.strategy, options.epochs, arithmetic
    )
    if beside:
        evaluator.run_stage(order)
    else:
        train.run_stage(order, member, signer)


def run_compare(options: argparse.Namespace) -> None:
    """Stage `compare`."""
    from penstock_trainer import compare

    compare.run_stage(options.problem, options.dataset, options.candidate, options.artifacts, options.minimum_gain)


def run_curves(options: argparse.Namespace) -> None:
    """Become TensorBoard."""
    folder = options.artifacts / "curves"
    folder.mkdir(parents=True, exist_ok=True)
    address = ["--host", options.host, "--port", str(options.port)]
    # The port is shared while a successor takes over.
    behaviour = ["--reuse_port", "true", "--load_fast", "false", "--reload_interval", "2", "--reload_multifile", "true"]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), *address, *behaviour]
    os.execv(sys.executable, command)


def run_predict(options: argparse.Namespace) -> None:
    """Batch prediction."""
    from penstock_trainer import predict

    predict.run_stage(
        options.model,
        options.raw,
        options.artifacts,
        options.keep,
        options.processes,
        options.runner,
        options.beam,
    )


def run_verify(options: argparse.Namespace) -> None:
    """Verify an artifact and tell where it comes from."""
    from penstock_trainer import verifying

    verifying.run(options.artifacts, options.key)


def run_sign(options: argparse.Namespace) -> None:
    """Sign an artifact."""
    from penstock_trainer import verifying

    verifying.sign(options.artifacts, options.key)


def _take_runner(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--runner", choices=["in-process", "prism", "dataflow"], default="in-process", help="default: in-process"
    )
    sub.add_argument("beam", nargs="*", metavar="-- OPTION", help="the runner's own options, as Beam has them")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _amount(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _gain(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share from 0 to 1")
    return value


def _error(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr, flush=True)
    return code


def _os_error(exc: OSError, artifacts: Path) -> str:
    if exc.errno == errno.ENOSPC or "No space left" in str(exc):
        existing = next(path for path in (artifacts, *artifacts.resolve().parents) if path.exists())
        return (
            f"no space left on the disk of {artifacts} ({shutil.disk_usage(existing).free / 1e6:,.0f} MB free): free "
            "some, or keep the artifacts on another disk (--artifacts; PENSTOCK_HOME for a stack)"
        )
    return f"{exc.strerror or exc}" + (f": {exc.filename}" if exc.filename else "")


def _at_fault(exc: BaseException | None) -> InputError | OSError | None:
    """The error in the input or of the machine behind an exception, also one of Beam's, if that is what it was."""
    while exc is not None and not isinstance(exc, InputError | OSError):
        exc = exc.__cause__ or exc.__context__
    return exc


if __name__ == "__main__":
    faulthandler.enable()  # a mapped file that its disk no longer gives ends the process without an exception
    sys.exit(main())
