import importlib

import pytest

from penstock_trainer import stages
from penstock_trainer.errors import InputError
from penstock_trainer.features import Bucketized, Crossed, Scaled, Vocabulary
from penstock_trainer.problem import (
    Category,
    Label,
    Number,
    Problem,
    TimeSplit,
    Timestamp,
    function_digest,
    load_problem,
)
from penstock_trainer.ranges import Choice, FloatRange, IntRange

COLUMNS = {"when": Timestamp(), "size": Number(), "kind": Category(), "cost": Number(outcome=True)}
SENT = {**COLUMNS, "sent": Timestamp(parts=("hour",))}


def problem(**changed):
    fields = {
        "name": "toy",
        "columns": COLUMNS,
        "label": Label("dear", of=lambda columns: columns["cost"] > 1),
        "split": TimeSplit("when", validation="2013-10-01", test="2013-11-01"),
        "features": [Scaled("size")],
        "model": print,
    }
    return Problem(**{**fields, **changed})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": [Scaled("sise")]}, "no such column; did you mean 'size'"),
        ({"features": [Scaled("cost")]}, "outcome, known only after"),
        ({"features": [Scaled("kind")]}, "category"),
        ({"features": [Crossed(Vocabulary("kind"), Bucketized("when", buckets=3))]}, "timestamp"),
        ({"split": TimeSplit("size", "2013-10-01", "2013-11-01")}, "no Timestamp column"),
        ({"split": TimeSplit("when", "2013-13-01", "2013-11-01")}, "2013-13-01"),
        ({"split": TimeSplit("when", "2013-12-01", "2013-11-01")}, "starts after"),
        ({"derived": {"size": Number()}}, "name of a raw column"),
        ({"features": [Scaled("when")]}, r"timestamp, .* have its parts as columns: Timestamp\(parts="),
        ({"slices": ("sent",), "columns": SENT}, "column 'sent' is a timestamp; slices are of numbers"),
        ({"features": [Scaled("sent_hours")], "columns": SENT}, "no such column; did you mean 'sent_hour'"),
        ({"derived": {"sent_hour": Number()}, "columns": SENT}, "'sent_hour' has the name of a raw column"),
        ({"columns": {**SENT, "sent_hour": Number()}}, "has the name of a part of the timestamp 'sent'"),
        (
            {"header": ["when", "size", "kind", "costs"]},
            "header: problem 'toy' declares column 'cost', which it does not name; did you mean 'costs'",
        ),
    ],
)
def test_a_problem_that_cannot_work_is_refused_with_the_reason(changed, message):
    with pytest.raises(InputError, match=message):
        problem(**changed)


def test_a_part_that_no_timestamp_has_is_refused():
    with pytest.raises(InputError, match="parts has 'hours'; did you mean 'hour'"):
        Timestamp(parts=("hours",))


def test_an_unknown_head_is_refused():
    with pytest.raises(InputError, match="use one of 'binary', 'multiclass', 'regression'"):
        Label("x", of=len, head="ternary")


def test_preprocessing_and_model_share_one_search_space():
    cut = Bucketized("size", buckets=IntRange(4, 64), dimension=Choice(2, 4))
    found = problem(
        features=[cut, Crossed(Vocabulary("kind"), cut)],
        hyperparameters={"rate": FloatRange(1e-4, 1e-1, log=True), "fixed": 3},
    ).search_space()
    assert found == {
        "size_bucketized.buckets": IntRange(4, 64),
        "size_bucketized.dimension": Choice(2, 4),
        "rate": FloatRange(1e-4, 1e-1, log=True),
    }


def test_the_bundled_flights_use_nothing_known_only_after_the_scheduled_departure():
    flights = load_problem("flights")
    assert {"dep_delay", "dep_time", "arr_time", "air_time", "arr_delay"}.isdisjoint(flights.inputs)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = (", r"p.py: SyntaxError: .*\(line 1\)"),
        ("\nimport nothing_like_this", r"p.py: ModuleNotFoundError: .*\(line 2\)"),
        ("x = 1", "has no object `problem`"),
    ],
)
def test_a_broken_problem_file_is_named_with_the_line(tmp_path, source, message):
    (tmp_path / "p.py").write_text(source)
    with pytest.raises(InputError, match=message):
        load_problem(str(tmp_path / "p.py"))


def test_an_unknown_problem_is_answered_with_the_bundled_ones():
    with pytest.raises(InputError, match=r"bundled: .*flights"):
        load_problem("fligths")


SOURCE = """
RATE = {rate}
def helper(x):
    return x * RATE
def derive(columns):
    return helper(columns)
def unrelated():
    return {other}
"""


def test_a_function_s_digest_follows_what_it_uses_and_nothing_else(tmp_path, monkeypatch):
    def digest(rate, other):
        name = f"m_{rate}_{other}"
        (tmp_path / f"{name}.py").write_text(SOURCE.format(rate=rate, other=other))
        monkeypatch.syspath_prepend(tmp_path)
        return function_digest(importlib.import_module(name).derive)

    assert digest(2, 1) == digest(2, 5) != digest(3, 1)


AUTHORS = {
    "late.py": "from {0} import days, words\nfrom {0}.hours import of_day, unused\n"
    "def derive(columns):\n    return of_day(columns[words.COLUMN]) + days(columns)\n",
    "hours.py": "SCALE = 24\ndef of_day(value):\n    return value * SCALE\ndef unused():\n    return 1\n",
    "words.py": "COLUMN = 'sent'\n",
    "__init__.py": "def days(columns):\n    return 7\n",
}


@pytest.mark.parametrize(
    ("file", "old", "new", "counts"),
    [
        ("hours.py", "SCALE = 24", "SCALE = 12", True),
        ("hours.py", "value * SCALE", "value / SCALE", True),
        ("words.py", "'sent'", "'seen'", True),
        ("__init__.py", "return 7", "return 5", True),
        ("hours.py", "return 1", "return 2", False),
    ],
)
def test_a_function_s_digest_follows_what_it_uses_of_its_author_s_package(
    tmp_path, monkeypatch, request, file, old, new, counts
):
    monkeypatch.syspath_prepend(tmp_path)

    def digest(package, **changed):
        (tmp_path / package).mkdir()
        for name, text in {**AUTHORS, **changed}.items():
            (tmp_path / package / name).write_text(text.format(package))
        return function_digest(importlib.import_module(f"{package}.late").derive)

    tag = f"p{abs(hash(request.node.name))}"
    before, after = digest(f"{tag}a"), digest(f"{tag}b", **{file: AUTHORS[file].replace(old, new)})
    assert (before != after) == counts


def test_a_stage_s_code_is_what_its_module_and_the_problem_s_functions_import(monkeypatch):
    read = []
    monkeypatch.setattr(stages, "file_digest", lambda path: read.append(path.stem) or "sha256:0")
    flights = load_problem("flights")
    stages.code_digest("raw", flights, flights.raw)
    assert {"raw", "artifacts", "nycflights", "_shards"} <= set(read)
    assert {"flights", "train", "tune"}.isdisjoint(read)
