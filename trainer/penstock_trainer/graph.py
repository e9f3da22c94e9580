"""The graph from raw columns to the network's inputs: written once, used in preprocessing, training and the served
model.

Three steps, each a function of tensors of shape [rows]:

    raw columns --derive--> all columns --encode--> numbers and codes --featurize--> network inputs

Preprocessing runs the first, training the last (its blocks hold numbers and codes), the served signature all three.
Preprocessing also splits texts and decodes pictures, by the functions here that the served signature's encoder calls.
A timestamp is two whole numbers, as `moments.cells` makes them: before `derive` come the columns of its parts.
"""

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from penstock_trainer.errors import InputError
from penstock_trainer.examples import HASHES, MISSING, UNKNOWN
from penstock_trainer.features import Crossed, parts
from penstock_trainer.moments import CELLS, DAY, FIRST, LAST, PATTERN
from penstock_trainer.problem import PARTS_HINT, Category, Column, Image, Problem, Text, Timestamp, parts_of, suggestion

Tensors = dict[str, tf.Tensor]
as_written = tf.autograph.experimental.do_not_convert
"""For a function without a condition or loop on tensors: AutoGraph, looking for one, takes as long as the function."""
LARGEST_PICTURE = 2**25
JPEG = b"\xff\xd8"
NO_TOKEN = r"[^\pL\pM\pN]+"


class ReadColumns(Mapping[str, tf.Tensor]):
    """The columns a problem's function may read; remembers those it did, and names the one it must not."""

    def __init__(self, function: str, columns: Mapping[str, Any], refused: Mapping[str, str]):
        self.function, self.columns, self.refused = function, columns, refused
        self.read: dict[str, None] = {}

    def __getitem__(self, name: str) -> tf.Tensor:
        if name in self.refused:
            raise InputError(f"{self.function} reads {name!r}, {self.refused[name]}")
        if name not in self.columns:
            raise InputError(f"{self.function} reads {name!r}, which is no column{suggestion(name, self.columns)}")
        self.read[name] = None
        return self.columns[name]

    def __iter__(self):
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


def column_spec(name: str, column: Column) -> tf.TensorSpec:
    """A column as `derive` takes it: shape [rows], string for a category, text or picture, else float32; a timestamp,
    which it does not read, is int32 of shape [rows, 2].
    """
    if isinstance(column, Timestamp):
        return tf.TensorSpec([None, CELLS], tf.int32, name)
    return tf.TensorSpec([None], tf.string if isinstance(column, Category | Text | Image) else tf.float32, name)


def served_spec(name: str, column: Column) -> tf.TensorSpec:
    """A raw column as the served signature takes it: shape [rows], float32 for a number, else string."""
    return tf.TensorSpec([None], tf.string, name) if isinstance(column, Timestamp) else column_spec(name, column)


def derive(problem: Problem, columns: Mapping[str, tf.Tensor]) -> Tensors:
    """The derived columns of `columns`, as the problem's `derive` makes them, checked against their declaration; a
    number that is not finite is missing.

    Raises:
        InputError: `derive` reads a column there is not or an outcome, or returns other columns or types than declared.
    """
    if problem.derive is None:
        return {}
    derived = problem.derive(ReadColumns("derive", columns, _refused(problem, outcomes=True)))
    if derived.keys() != problem.derived.keys():
        raise InputError(
            f"derive returns {sorted(derived)}, the problem declares derived columns {sorted(problem.derived)}"
        )
    for name, tensor in derived.items():
        wanted = column_spec(name, problem.derived[name]).dtype
        if tensor.dtype != wanted:
            raise InputError(
                f"derive returns {name!r} as {tensor.dtype.name}, declared {problem.derived[name].type} ({wanted.name})"
            )
    return {name: tensor if tensor.dtype == tf.string else _finite(tensor) for name, tensor in derived.items()}


def with_parts(declared: Mapping[str, Column], columns: Mapping[str, tf.Tensor]) -> Tensors:
    """`columns`, and the parts of those among them that are timestamps: float32 of shape [rows], NaN where missing."""
    made: Tensors = {}
    for name, column in declared.items():
        if isinstance(column, Timestamp) and name in columns:
            found = _calendar(*tf.unstack(columns[name], CELLS, axis=1))
            missing = columns[name][:, 1] < 0
            for part in column.parts:
                made[f"{name}_{part}"] = tf.where(missing, math.nan, tf.cast(found[part], tf.float32))
    return {**columns, **made}


def _calendar(number: tf.Tensor, second: tf.Tensor) -> Tensors:
    """Every one of `problem.MOMENT_PARTS`, by int32 operations that LiteRT has; years begin in March until the last
    step, so that a leap day is the last of them (Howard Hinnant's `civil_from_days`).
    """
    floormod = tf.math.floormod
    days = number + 719_468  # since 1 March of the year 0
    era = days // 146_097
    day = days - era * 146_097
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    new_year = tf.cast(month >= 10, tf.int32)
    year += era * 400 + new_year
    return {
        "year": year,
        "month": floormod(month + 2, 12) + 1,
        "day": day - (153 * month + 2) // 5 + 1,
        "day_of_week": floormod(number + 3, 7),
        "day_of_year": number - _day_number(year, 1, 1) + 1,
        "hour": second // 3600,
        "minute": floormod(second // 60, 60),
        "second": floormod(second, 60),
        "day_number": number,
        "second_of_day": second,
    }


def _day_number(year: tf.Tensor, month: Any, day: Any) -> tf.Tensor:
    """Of a date, since 1 January 1970."""
    year, month = year - tf.cast(month < 3, tf.int32), (month - 3) % 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719_469


def moments(text: tf.Tensor) -> tf.Tensor:
    """Timestamps as clients write them (`moments.PATTERN`), to int32 of shape [rows, 2]; the empty string is missing.

    Raises:
        tf.errors.InvalidArgumentError: one of them is no moment.
    """
    there = text != ""
    plain = tf.where(there, text, "1970-01-01")
    with tf.control_dependencies([_sure(tf.strings.regex_full_match(plain, PATTERN))]):
        spelled = tf.strings.regex_replace(plain, PATTERN, r"\1 \2 \3 0\4 0\5 0\6 \71 0\8 0\9")
    fields = tf.strings.split(tf.strings.regex_replace(spelled, r"\+", "")).to_tensor(shape=[None, 9])
    year, month, day, hour, minute, second, sign, zone_hour, zone_minute = tf.unstack(
        tf.strings.to_number(fields, tf.int32), axis=1
    )
    number = _day_number(year, month, day)
    date = _calendar(number, second)
    real = (date["year"] == year) & (date["month"] == month) & (date["day"] == day)
    real &= (hour < 24) & (minute < 60) & (second < 60) & (zone_hour < 24) & (zone_minute < 60)
    second += hour * 3600 + minute * 60 - sign * (zone_hour * 3600 + zone_minute * 60)
    number, second = number + second // DAY, second % DAY
    real &= (number >= FIRST // DAY) & (number <= LAST // DAY)
    with tf.control_dependencies([_sure(real)]):
        return tf.where(there[:, tf.newaxis], tf.stack([number, second], axis=1), MISSING)


def _sure(each: tf.Tensor) -> tf.Operation:
    return tf.debugging.Assert(tf.reduce_all(each), ["a timestamp is no moment in ISO 8601 of the years 1 to 9999"])


def _finite(numbers: tf.Tensor) -> tf.Tensor:
    """NaN where a number is infinite, by operations that LiteRT has."""
    return tf.where(tf.abs(numbers) < math.inf, numbers, math.nan)


def label(problem: Problem, columns: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """float32 of shape [rows]; of several classes, the place in them, and -1 for a name that is none of theirs."""
    found = problem.label.of(ReadColumns("the label", columns, _refused(problem, outcomes=False)))
    if found.dtype != tf.string:
        return tf.cast(found, tf.float32)
    if problem.label.head != "multiclass":
        raise InputError(f"label {problem.label.name!r} is text, which head {problem.label.head!r} does not take")
    same = tf.equal(found[:, None], tf.constant(list(problem.label.classes)))
    return tf.where(tf.reduce_any(same, 1), tf.cast(tf.argmax(tf.cast(same, tf.int32), 1), tf.float32), -1.0)


def check(problem: Problem) -> None:
    """Trace `derive` and the label once.

    Raises:
        InputError: they read or return what does not fit the problem's columns, read what they must not, or fail.
    """
    specs = [{name: column_spec(name, column) for name, column in problem.values.items()}]
    for name, function in (
        ("derive", lambda c: derive(problem, c)),
        ("the label", lambda c: label(problem, c)),
    ):
        try:
            tf.function(function, autograph=False).get_concrete_function(*specs)
        except InputError:
            raise
        except Exception as exc:
            raise InputError(
                f"{name} of problem {problem.name!r} fails: {type(exc).__name__}: {str(exc).splitlines()[0]}"
            ) from exc


def columns_read(problem: Problem) -> tuple[list[str], list[str]]:
    """(columns `derive` reads, columns the label reads), found by tracing both functions once."""
    placeholders = {name: column_spec(name, column) for name, column in problem.values.items()}

    def trace(name: str, function: Any, refused: Mapping[str, str]) -> list[str]:
        seen: dict[str, None] = {}

        @tf.function(autograph=False)
        def traced(columns: Tensors) -> Any:
            reader = ReadColumns(name, columns, refused)
            answer = function(reader)
            seen.update(reader.read)
            return answer

        traced.get_concrete_function(placeholders)
        return list(seen)

    derive_reads = trace("derive", problem.derive, _refused(problem, outcomes=True)) if problem.derive else []
    return derive_reads, trace("the label", problem.label.of, _refused(problem, outcomes=False))


def _refused(problem: Problem, *, outcomes: bool) -> dict[str, str]:
    """The columns that a function of the problem must not read, and what they are; `outcomes` are among them or not,
    and with them texts, of which the dataset keeps the tokens only.
    """
    found: dict[str, str] = {}
    for name, column in {**problem.columns, **problem.values}.items():
        if isinstance(column, Image):
            found[name] = "a picture: only the feature Pixels takes pictures"
        elif isinstance(column, Timestamp):
            found[name] = "a timestamp, which is no number" + PARTS_HINT
        elif outcomes and column.outcome:
            found[name] = "an outcome: it is known only after the moment of prediction"
        elif outcomes and isinstance(column, Text):
            found[name] = "a text: only the features Tokens and Missing take texts; declare it a Category to read it"
    return found


def signature_columns(problem: Problem) -> dict[str, Column]:
    """The raw columns the served model takes: what `derive` and the features use, in the problem's order."""
    used = set(columns_read(problem)[0])
    for feature in problem.features:
        used |= {part.column for part in parts(feature) if not isinstance(part, Crossed)}
    return {n: c for n, c in problem.columns.items() if n in problem.inputs and used & {n, *parts_of(n, c)}}


class Encoder(tf.Module):
    """Category text to codes: a category's rank among the training rows, or a negative number; a text's tokens
    likewise; a picture to its pixels.
    """

    def __init__(self, vocabularies: Mapping[str, list[str]], columns: Mapping[str, Column] | None = None):
        super().__init__()
        self.columns = columns or {}
        self.tables = {
            name: tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.constant(words, tf.string), tf.range(len(words), dtype=tf.int32)
                ),
                UNKNOWN,
            )
            for name, words in vocabularies.items()
        }

    def __call__(self, name: str, text: tf.Tensor) -> tf.Tensor:
        """Of a column of strings: a category's int32 codes [rows], a text's [rows, tokens], a picture's uint8 [rows,
        bytes]; the empty string is missing.
        """
        column = self.columns.get(name)
        if isinstance(column, Image):
            return pixels(text, column)
        if isinstance(column, Text):
            text = tokens(text, column).to_tensor("", shape=[None, column.tokens])
        ranks = self.tables[name].lookup(text)
        return tf.where(text == "", MISSING, tf.where(ranks == UNKNOWN, unknown_codes(text), ranks))


def tokens(text: tf.Tensor, column: Text) -> tf.RaggedTensor:
    """The first tokens of each text, string of shape [rows, up to `column.tokens`]."""
    plain = tf.strings.regex_replace(tf.strings.lower(text, "utf-8"), NO_TOKEN, " ")
    return tf.strings.split(plain)[:, : column.tokens]


def pixels(encoded: tf.Tensor, column: Image) -> tf.Tensor:
    """The pictures, decoded and resized, uint8 of shape [rows, height * width * channels]; missing is zeros.

    Raises:
        tf.errors.InvalidArgumentError: one of them is none, or of more than `LARGEST_PICTURE` pixels.
    """
    shape = [column.height, column.width, column.channels]

    def decoded(one: tf.Tensor) -> tf.Tensor:
        limit = tf.constant(LARGEST_PICTURE, tf.int64)
        said = f"a picture has more than {LARGEST_PICTURE:,} pixels"
        with tf.control_dependencies([tf.debugging.assert_less_equal(_pixels_said(one), limit, said)]):
            one = tf.identity(one)
        picture = tf.io.decode_image(one, column.channels, expand_animations=False)
        picture.set_shape([None, None, column.channels])
        resized = tf.image.resize(picture, shape[:2], antialias=True)
        return tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8)

    found = tf.map_fn(
        lambda one: tf.cond(one == "", lambda: tf.zeros(shape, tf.uint8), lambda: decoded(one)),
        encoded,
        fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        parallel_iterations=2,  # a large picture takes hundreds of megabytes
    )
    return tf.reshape(found, [-1, column.bytes])


def _pixels_said(encoded: tf.Tensor) -> tf.Tensor:
    """How many pixels the beginning of an encoded picture says it has, int64: a small file may decode to gigabytes."""

    def of_jpeg() -> tf.Tensor:
        # Else libjpeg would write the first bytes to standard error.
        with tf.control_dependencies([tf.debugging.Assert(kind == JPEG, ["it is no JPEG, PNG, GIF or BMP picture"])]):
            return tf.reduce_prod(tf.cast(tf.image.extract_jpeg_shape(encoded), tf.int64)[:2])

    def product(place: int, length: int, cell: tf.DType, little_endian: bool) -> tf.Tensor:
        sizes = tf.io.decode_raw(tf.strings.substr(encoded, place, length), cell, little_endian)
        return tf.reduce_prod(tf.abs(tf.cast(sizes, tf.int64)))

    kind = tf.strings.substr(encoded, 0, 2)
    return tf.case(
        [
            (kind == b"\x89P", lambda: product(16, 8, tf.int32, little_endian=False)),
            (kind == b"GI", lambda: product(6, 4, tf.uint16, little_endian=True)),
            (kind == b"BM", lambda: product(18, 8, tf.int32, little_endian=True)),
        ],
        of_jpeg,
    )


def unknown_codes(text: tf.Tensor) -> tf.Tensor:
    """int32 codes of categories that no training row had: `UNKNOWN` less a hash of the text, of any shape."""
    return UNKNOWN - tf.cast(tf.strings.to_hash_bucket_fast(text, HASHES), tf.int32)
