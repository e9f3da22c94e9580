"""Names derived from names: pure, the same for every platform."""

import re
from pathlib import PurePosixPath


def model_name(problem: str) -> str:
    """The name a problem's model is served under: `flights` for `flights`, `acme.flights` and `dir/flights.py`."""
    last = PurePosixPath(problem).stem if is_file(problem) else problem.rpartition(".")[2]
    return re.sub(r"[^A-Za-z0-9_-]", "-", last)


def is_file(problem: str) -> bool:
    """Whether a problem is named by its file rather than as a bundled or importable module."""
    return problem.endswith(".py")


def is_module(problem: str) -> bool:
    """Whether a problem is a module of its author's package (`my_package.my_problem`)."""
    return "." in problem and not is_file(problem)
