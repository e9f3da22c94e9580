"""A problem: the columns of a table, what to predict, how to look at it. One small Python file per problem.

Part of the light core: importing this needs neither TensorFlow nor Beam. The problem file itself may import TensorFlow
for its `derive`, label and model functions.
"""

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, ClassVar

from penstock_trainer.errors import InputError
from penstock_trainer.features import (
    Bucketized,
    Crossed,
    Cyclic,
    Feature,
    Hashed,
    Missing,
    Pixels,
    Scaled,
    Tokens,
    Vocabulary,
    parts,
    tunable,
)
from penstock_trainer.ranges import Choice, FloatRange, Hyperparameters, IntRange, Range, resolve

SPLITS = ("training", "validation", "test")
HEADS = ("binary", "multiclass", "regression")
MOMENT_PARTS = (
    "year",
    "month",
    "day",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "second",
    "day_number",
    "second_of_day",
)
"""What a moment can be taken apart into: `day_of_week` is 0 on Mondays, `day_of_year` 1 on 1 January, `day_number` 0 on
1 January 1970."""
PARTS_HINT = "; have its parts as columns: Timestamp(parts=('month', 'hour'))"
Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of the raw files.

    `required`: a row without a value is malformed, in the files and at the endpoint alike.
    `outcome`: known only after the moment of prediction; the label may use it, `derive` and the features may not.
    """

    type: ClassVar[str]
    required: bool = False
    outcome: bool = False


@dataclass(frozen=True)
class Number(Column):
    """A number; float32 in the graph, missing is NaN."""

    type: ClassVar[str] = "number"


@dataclass(frozen=True)
class Integer(Column):
    """A whole number of at most 2**24 in magnitude; float32 in the graph, missing is NaN."""

    type: ClassVar[str] = "integer"


@dataclass(frozen=True)
class Category(Column):
    """A text that stands for one of several things; string in the graph, missing is the empty string."""

    type: ClassVar[str] = "category"


@dataclass(frozen=True)
class Text(Column):
    """Words, known by their first `tokens` tokens: runs of letters and digits, in lower case; string in the graph,
    missing is the empty string.
    """

    type: ClassVar[str] = "text"
    tokens: int = 32

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise InputError(f"Text: tokens is {self.tokens}; it must be at least 1")


@dataclass(frozen=True)
class Image(Column):
    """A picture, encoded as PNG, JPEG, GIF (its first frame) or BMP; string in the graph, missing is the empty string.

    It is decoded and resized to `height` x `width` pixels of `channels` bytes each: 1 is grey, 3 is red, green, blue.
    """

    type: ClassVar[str] = "image"
    height: int = 32
    width: int = 32
    channels: int = 3

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise InputError(f"Image: {self.height} x {self.width} pixels; both must be at least 1")
        if self.channels not in (1, 3):
            raise InputError(f"Image: channels is {self.channels}; it is 1 (grey) or 3 (red, green, blue)")

    @property
    def bytes(self) -> int:
        """How many a decoded picture has."""
        return self.height * self.width * self.channels


@dataclass(frozen=True)
class Timestamp(Column):
    """A moment in ISO 8601, UTC where it names no zone, of the years 1 to 9999; it may split the rows.

    `parts`: which of `MOMENT_PARTS` are columns too, each a whole number, in UTC: with `hour`, the column `sent` has
    another beside it, `sent_hour`, for `derive`, the label and the features. Without parts it is not in the graph.
    """

    type: ClassVar[str] = "timestamp"
    parts: Sequence[str] = ()

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in MOMENT_PARTS:
                raise InputError(f"Timestamp: parts has {part!r}{suggestion(part, MOMENT_PARTS)}")


TAKES: Mapping[type, tuple[type[Column], ...]] = {
    Scaled: (Number, Integer),
    Cyclic: (Number, Integer),
    Bucketized: (Number, Integer),
    Vocabulary: (Category,),
    Hashed: (Category,),
    Tokens: (Text,),
    Pixels: (Image,),
    Missing: (Number, Integer, Category, Text),
}


@dataclass(frozen=True)
class Label:
    """What to predict: `of` is a TensorFlow function from the raw columns to float32 of shape [rows].

    `head`: `binary` (0 or 1, predicted as a probability), `multiclass` (one of `classes`, predicted as a probability
    for each of them; `of` gives its name as a string, or its place among them) or `regression`. A row in which a column
    that `of` reads is missing is unlabelled: it is counted, and takes no part in training.
    """

    name: str
    of: Callable[[Columns], Any]
    head: str = "binary"
    classes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise InputError(f"label {self.name!r}: head is {self.head!r}; use one of {', '.join(map(repr, HEADS))}")
        if self.head == "multiclass" and len(self.classes) < 2:
            raise InputError(f"label {self.name!r}: head 'multiclass' needs the names of its classes, two at least")
        if self.head != "multiclass" and self.classes:
            raise InputError(f"label {self.name!r}: classes are for head 'multiclass', the head is {self.head!r}")
        if twice := [name for name in self.classes if list(self.classes).count(name) > 1]:
            raise InputError(f"label {self.name!r}: class {twice[0]!r} is named twice")

    @property
    def outputs(self) -> int:
        """How many logits a row has."""
        return len(self.classes) or 1


@dataclass(frozen=True)
class TimeSplit:
    """Rows before `validation` train, rows from `test` on test, those between validate; ISO 8601, UTC."""

    column: str
    validation: str
    test: str

    def seconds(self) -> tuple[float, float]:
        """The two moments, in seconds since 1970."""
        moments = []
        for name in ("validation", "test"):
            text = getattr(self, name)
            try:
                moment = datetime.fromisoformat(text)
            except ValueError as exc:
                raise InputError(f"split: {name} is {text!r}; write a date such as 2013-10-01") from exc
            moments.append((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp())
        if moments[0] > moments[1]:
            raise InputError(f"split: validation {self.validation} starts after test {self.test}")
        return moments[0], moments[1]


@dataclass(frozen=True)
class Problem:
    """All that an author says of a problem; training, evaluation, export and serving follow from it.

    `derive`: a TensorFlow function from raw columns (those that are no outcome) to new columns, float32 or string of
    shape [rows]; it runs in preprocessing and inside the served model, from this one source.
    `model`: a function from (inputs, specs, parameters) to logits of shape [rows, 1], or [rows, classes]; inputs are
    Keras tensors by feature name, parameters the resolved `hyperparameters` and `outputs`, the number of logits.
    `hyperparameters`: what the model function and the training read: values or ranges; `learning_rate` and `batch_size`
    are training's own.
    `slices`: raw or derived columns, known at the moment of prediction, by whose values the model card breaks its
    figures down.
    `raw`: writes bundled raw files: (directory, rows or None, shards) -> number of rows written.
    `header`: the names of all columns of the CSV files, in their order, where the files have no header line.
    """

    name: str
    columns: Mapping[str, Column]
    label: Label
    split: TimeSplit
    features: Iterable[Feature]
    model: Callable[..., Any]
    derive: Callable[[Columns], dict[str, Any]] | None = None
    derived: Mapping[str, Column] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    raw: Callable[[Path, int | None, int], int] | None = None
    header: Sequence[str] = ()
    slices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for feature in self.features:
            for part in parts(feature):
                if not isinstance(part, Crossed):
                    self._check_feature(part)
        split = self.columns.get(self.split.column)
        if not isinstance(split, Timestamp):
            raise InputError(f"split: {self.split.column!r} is no Timestamp column of problem {self.name!r}")
        self.split.seconds()
        if self.header and (absent := [name for name in self.columns if name not in self.header]):
            raise InputError(
                f"header: problem {self.name!r} declares column {absent[0]!r}, which it does not name"
                + suggestion(absent[0], self.header)
            )
        for name, column in self.derived.items():
            if isinstance(column, Image | Timestamp):
                raise InputError(f"derived column {name!r} is declared a {column.type}, which `derive` cannot make")
        clash = sorted(self.values.keys() & self.derived.keys())
        if clash:
            raise InputError(f"derived column {clash[0]!r} has the name of a raw column")
        for name, column in self.columns.items():
            if made := sorted(self.columns.keys() & parts_of(name, column).keys()):
                raise InputError(f"column {made[0]!r} has the name of a part of the timestamp {name!r}")

        known = {**self.inputs, **self.derived}
        for name in self.slices:
            if name not in known:
                raise InputError(
                    f"slices: problem {self.name!r} has no column {name!r} that is known at the moment of prediction"
                    + suggestion(name, known)
                )
            if isinstance(known[name], Text | Image | Timestamp):
                raise InputError(
                    f"slices: column {name!r} is a {known[name].type}; slices are of numbers and categories"
                )

    def _check_feature(self, feature: Feature) -> None:
        assert not isinstance(feature, Crossed)
        known = {**self.columns, **self.values, **self.derived}
        if feature.column not in known:
            raise InputError(
                f"feature {type(feature).__name__}({feature.column!r}): problem {self.name!r} has no such column"
                + suggestion(feature.column, known)
            )
        column = known[feature.column]
        if column.outcome:
            raise InputError(
                f"feature {type(feature).__name__}({feature.column!r}): the column is an outcome, known only after the "
                "moment of prediction; a feature may not use it"
            )
        if not isinstance(column, TAKES[type(feature)]):
            raise InputError(
                f"feature {type(feature).__name__}({feature.column!r}): the column is a {column.type}, which this "
                f"feature does not take{PARTS_HINT if isinstance(column, Timestamp) else ''}"
            )

    @property
    def values(self) -> dict[str, Column]:
        """The raw columns that the graph can take, all but timestamps without parts, and the parts of the others."""
        taken = {n: c for n, c in self.columns.items() if not isinstance(c, Timestamp) or c.parts}
        return {name: part for n, c in taken.items() for name, part in ({n: c} | parts_of(n, c)).items()}

    @property
    def inputs(self) -> dict[str, Column]:
        """Those of `values` that are known at the moment of prediction: all but outcomes."""
        return {n: c for n, c in self.values.items() if not c.outcome}

    def parameters(self, hyperparameters: Hyperparameters) -> dict[str, Any]:
        """What the model function and the training read, each range by its value."""
        return {name: resolve(value, name, hyperparameters) for name, value in self.hyperparameters.items()}

    def search_space(self) -> dict[str, Range]:
        """Every range in the problem, by name: preprocessing (`<feature>.<field>`) and model in one space."""
        space = {name: range_ for feature in self.features for name, range_ in tunable(feature)}
        for name, value in self.hyperparameters.items():
            if isinstance(value, IntRange | FloatRange | Choice):
                space[name] = value
        return space


def parts_of(name: str, column: Column) -> dict[str, Column]:
    """The columns that a timestamp's parts are; none of another column."""
    if not isinstance(column, Timestamp):
        return {}
    return {f"{name}_{part}": Integer(column.required, column.outcome) for part in column.parts}


def load_problem(reference: str) -> Problem:
    """The object `problem` of a bundled problem (`flights`), a module (`my_package.my_problem`) or a `.py` file.

    Raises:
        InputError: there is no such module or file, it fails to import, or it has no `problem`.
    """
    module = _load_module(reference)
    problem = getattr(module, "problem", None)
    if not isinstance(problem, Problem):
        raise InputError(f"{module.__file__} has no object `problem` of type penstock_trainer.Problem")
    return problem


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where a known name is close, else a list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(names)}"


def function_digest(*functions: Callable[..., Any] | None) -> str:
    """SHA-256 of the functions' source and of what they use of their author's package, all the way down: functions,
    classes, whole modules and constants.
    """
    sha = hashlib.sha256()
    seen: set[str] = set()

    def visit(function: Callable[..., Any]) -> None:
        function = inspect.unwrap(function)
        if not isinstance(function, FunctionType) or f"{function.__module__}.{function.__qualname__}" in seen:
            return
        seen.add(f"{function.__module__}.{function.__qualname__}")
        sha.update(inspect.getsource(function).encode())
        for name in _names(function.__code__):
            value = function.__globals__.get(name)
            if isinstance(value, FunctionType) and _of_one_author(value.__module__, function.__module__):
                visit(value)
            elif isinstance(value, ModuleType) and _of_one_author(value.__name__, function.__module__):
                for file in _sources(value):
                    sha.update(file.read_bytes())
            elif isinstance(value, type) and _of_one_author(value.__module__, function.__module__):
                sha.update(f"{name}={inspect.getsource(value)}".encode())
            elif isinstance(value, str | int | float | tuple | list | dict | frozenset):
                sha.update(f"{name}={value!r}".encode())

    for function in functions:
        if function is not None:
            visit(function)
    return "sha256:" + sha.hexdigest()


def _sources(module: ModuleType) -> list[Path]:
    """The files of a module, or of all that a package has."""
    places = [Path(place) for place in getattr(module, "__path__", [])]
    return sorted(file for place in places for file in place.rglob("*.py")) or [Path(str(module.__file__))]


def _of_one_author(module: str, other: str) -> bool:
    """Whether two modules are of one package; this one's own are digested elsewhere (`stages.code_digest`)."""
    package = other.partition(".")[0]
    return module == other or (module.partition(".")[0] == package and package != __name__.partition(".")[0])


def _names(code: Any) -> list[str]:
    """The global names a code object and those nested in it use."""
    nested = [name for constant in code.co_consts if inspect.iscode(constant) for name in _names(constant)]
    return sorted({*code.co_names, *nested})


def _load_module(reference: str) -> ModuleType:
    if reference.endswith(".py"):
        path = Path(reference).resolve()
        if not path.exists():
            raise InputError(f"problem: there is no file {reference}")
        name = f"penstock_problem_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except InputError as exc:
            raise InputError(f"{reference}: {exc}") from exc
        except Exception as exc:
            raise InputError(f"{reference}: {type(exc).__name__}: {exc}{_line(exc, path)}") from exc
        return module
    name = reference if "." in reference else f"penstock_trainer.problems.{reference}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not (name == exc.name or name.startswith(exc.name + ".")):
            raise InputError(
                f"problem {reference!r}: importing {name} needs {exc.name}, which is not installed"
            ) from exc
        known = sorted(p.stem for p in (Path(__file__).parent / "problems").glob("[a-z]*.py"))
        raise InputError(
            f"problem: there is no module {name}; bundled: {', '.join(known)}; or name a module or a .py file"
        ) from exc


def _line(exc: BaseException, path: Path) -> str:
    """` (line N)`, the deepest line of `path` in the exception's traceback."""
    lines = []
    traceback = exc.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            lines.append(traceback.tb_lineno)
        traceback = traceback.tb_next
    if isinstance(exc, SyntaxError) and exc.lineno:
        lines.append(exc.lineno)
    return f" (line {lines[-1]})" if lines else ""
