"""The command line: verify, listen, load, serve, drain."""

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from penstock_serving.access import Access, access_of, add_access
from penstock_serving.app import Application
from penstock_serving.backends.choosing import BACKENDS, choose_backend
from penstock_serving.batching import DEADLINE_SECONDS
from penstock_serving.handover import require_grpc
from penstock_serving.logs import set_up_logs
from penstock_serving.metrics import Metrics
from penstock_serving.scheduling import share_one_heap
from penstock_serving.seal import SealedModel, add_verify_key
from penstock_serving.served import FIRST_VERSION, ServedModel
from penstock_serving.server import Server, bind
from penstock_serving.skew.arguments import add_monitoring, monitoring_of
from penstock_serving.skew.monitor import Monitoring
from penstock_serving.versions import Versions
from penstock_trainer.errors import InputError

if TYPE_CHECKING:
    from penstock_serving.grpc_server import GrpcServer

INPUT_AT_FAULT = 2
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

logger = logging.getLogger("penstock_serving")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the command line in the one line that every error has."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. The exit code: 0 drained, 2 the input is at fault, 1 a failure of ours."""
    try:
        return _serve(_parse(argv))
    except InputError as exc:
        return _fail(exc)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m penstock_serving", description="Serve a sealed model as TensorFlow Serving would.")
    parser.add_argument("--model", type=Path, required=True, help="directory of the sealed model")
    parser.add_argument("--name", required=True, help="the model's name in the URL")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--grpc-port", type=int, help="answer TensorFlow Serving's gRPC Predict here too (default: no)")
    parser.add_argument("--expect-digest", metavar="sha256:HEX", help="refuse any model but the one of this digest")
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="auto",
        help="what answers: auto (default) is slim where the seal proves it equal to the SavedModel, else tensorflow",
    )
    add_verify_key(parser)
    add_deadline(parser)
    add_access(parser)
    add_monitoring(parser)
    arguments = parser.parse_args(argv)
    if not NAME.fullmatch(arguments.name):
        parser.error(f"--name is {arguments.name!r}, expected letters, digits, '.', '_' and '-'")
    for name, port in (("--port", arguments.port), ("--grpc-port", arguments.grpc_port or 0)):
        if not 0 <= port <= 65535:  # the resolver would take it modulo 65536
            parser.error(f"{name} is {port}, expected 0 (any free one) to 65535")
    if arguments.expect_digest is not None and not DIGEST.fullmatch(arguments.expect_digest):
        parser.error(f"--expect-digest is {arguments.expect_digest!r}, expected sha256: and 64 hexadecimal digits")
    return arguments


def add_deadline(parser: argparse.ArgumentParser) -> None:
    """The argument that states how long a request may wait for the model."""
    parser.add_argument(
        "--deadline-seconds",
        type=positive,
        default=DEADLINE_SECONDS,
        metavar="SECONDS",
        help="a request that a loaded model has not answered after so long is answered 504 (default: %(default)s)",
    )


def positive(stated: str) -> float:
    """A number of seconds above 0."""
    seconds = float(stated)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"it is {stated}, expected more than 0")
    return seconds


def load_version(
    name: str,
    directory: Path,
    digest: str | None,
    monitoring: Monitoring | None,
    version: str = FIRST_VERSION,
    metrics: Metrics | None = None,
    backend: str = "auto",
    verify_key: Path | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> ServedModel:
    """The sealed model in `directory`, ready to be loaded.

    Raises:
        InputError: its seal or its signature does not hold, it is not the model of this digest, or the backend is not
        to be had.
    """
    sealed = SealedModel.open(directory, digest, verify_key)
    chosen = choose_backend(sealed, backend)
    if chosen.name == "slim":
        share_one_heap()
    return ServedModel(name, sealed, chosen, version, metrics, monitoring, deadline_seconds)


def _serve(arguments: argparse.Namespace) -> int:
    if arguments.grpc_port is not None:
        require_grpc()
    access = access_of(arguments)
    monitoring = monitoring_of(arguments, os.environ)
    served = load_version(
        arguments.name,
        arguments.model,
        arguments.expect_digest,
        monitoring,
        backend=arguments.backend,
        verify_key=arguments.verify_key,
        deadline_seconds=arguments.deadline_seconds,
    )
    listener = bind(arguments.host, arguments.port)
    set_up_logs()
    host, port = listener.socket.getsockname()[:2]
    fields = {"model": served.name, "digest": served.sealed.digest, "host": host, "port": port, "pid": os.getpid()}
    logger.info("starting", extra={"fields": fields | {"succeeds": listener.shared}})
    application = Application(Versions([served]), access.tokens)
    beside = _grpc_server(application, arguments, access)
    server = Server(application, succeeds=listener.shared, tls=access.tls, beside=beside)
    server.run(sockets=[listener.socket])
    return end(server.failure, served.available)


def _grpc_server(application: Application, arguments: argparse.Namespace, access: Access) -> "GrpcServer | None":
    if arguments.grpc_port is None:
        return None
    from penstock_serving.grpc_server import GrpcServer

    # A port that cannot be had is told now, not once a model has been loaded.
    bind(arguments.host, arguments.grpc_port, "--grpc-port").socket.close()
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    return GrpcServer(application, f"{host}:{arguments.grpc_port}", access)


def end(failure: Exception | None, available: bool) -> int:
    """The exit code of a server that has stopped, because its model could not be loaded or because it was told to."""
    if failure is not None:
        code = _fail(failure)
    else:
        logger.info("stopped")
        code = 0
    if not available:
        # TensorFlow may still be loading in its thread, which an orderly end of the interpreter would crash into.
        sys.stderr.flush()
        os._exit(code)
    return code


def _fail(failure: Exception) -> int:
    """Show the message to a person; where it is our failure, log its frames too."""
    if isinstance(failure, InputError):
        print(f"error: {' '.join(str(failure).split())}", file=sys.stderr)
        return INPUT_AT_FAULT
    logger.error("load failed", exc_info=failure)
    print(f"error: the model could not be loaded: {failure!r}", file=sys.stderr)
    return 1
