"""Bodies to rows, and bodies that are none to words."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_serving.bodies import ROWS_LIMIT
from penstock_serving.decoding import RequestDecoder, Row
from penstock_serving.errors import RequestError, TooLargeError
from penstock_serving.explaining import EXPLAINED, explain
from penstock_serving.schema import LARGEST_INTEGER, LARGEST_NUMBER, Column, ColumnType, Schema
from penstock_trainer.errors import InputError

ROW = {"distance": 1400.5, "temp °F": 39.02, "month": 1, "seats": 149, "carrier": "UA", "engine": "Turbo-fan"}
REQUIRED = ("distance", "month", "carrier")

numbers = st.floats(-LARGEST_NUMBER, LARGEST_NUMBER)
integers = st.integers(-LARGEST_INTEGER, LARGEST_INTEGER)
text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)
valid_rows = st.fixed_dictionaries(
    {"distance": numbers, "month": integers, "carrier": text},
    optional={
        "temp °F": st.none() | numbers,
        "seats": st.none() | integers,
        "engine": st.none() | text,
        "tailnum": st.none() | st.text(max_size=3) | st.integers(),
    },
)
any_rows = st.dictionaries(st.sampled_from([*ROW, "tailnum", "other"]), json_values, max_size=8)


def body(value: Any) -> bytes:
    """`value` as a client's JSON; NaN and infinities as Python spells them."""
    return json.dumps(value).encode()


def outcome(decoder: RequestDecoder, posted: bytes) -> list[Row] | RequestError:
    """The rows in a body, or why there are none; any other exception is a test's failure."""
    try:
        return decoder.decode(posted).rows
    except RequestError as refused:
        return refused


@given(rows=st.lists(valid_rows, min_size=1, max_size=5))
def test_a_valid_row_arrives_as_it_was_posted(decoder, schema, rows):
    request = decoder.decode(body({"instances": rows}))
    assert request.rows == [tuple(row.get(name) for name in schema.names) for row in rows]
    assert not request.columnar


@given(rows=st.lists(valid_rows, min_size=1, max_size=5))
def test_columns_are_the_rows_turned(decoder, schema, rows):
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    request = decoder.decode(body({"inputs": columns}))
    assert request.rows == decoder.decode(body({"instances": rows})).rows
    assert request.columnar


@given(rows=st.lists(any_rows, max_size=3))
def test_the_fast_decoder_refuses_exactly_what_the_slow_one_can_explain(decoder, schema, rows):
    posted = body({"instances": rows})
    decoded = outcome(decoder, posted)
    if isinstance(decoded, RequestError):
        broken_beside_the_columns = str(decoded).startswith(("the body is no predict request", "the body is nested"))
        assert explain(posted, schema) == str(decoded) or broken_beside_the_columns or not rows
    else:
        assert explain(posted, schema) is None
        assert all(v is None or isinstance(v, str) or math.isfinite(v) for row in decoded for v in row)


@given(posted=st.binary() | json_values.map(body) | st.text().map(str.encode))
def test_any_bytes_are_rows_or_a_request_error(decoder, posted):
    decoded = outcome(decoder, posted)
    assert (str(decoded) and decoded.status == 400) if isinstance(decoded, RequestError) else decoded


@given(name=st.sampled_from(REQUIRED))
def test_a_missing_required_column_is_named(decoder, name):
    row = {key: value for key, value in ROW.items() if key != name}
    with pytest.raises(RequestError, match=f"row 1: column '{name}' is required and missing"):
        decoder.decode(body({"instances": [ROW, row]}))


def test_the_largest_values_of_each_type_pass_and_the_next_ones_do_not(decoder):
    largest = {**ROW, "distance": LARGEST_NUMBER, "seats": -LARGEST_INTEGER}
    assert decoder.decode(body({"instances": [largest]})).rows[0][0] == LARGEST_NUMBER
    for beyond in ({"distance": LARGEST_NUMBER * 1.0001}, {"seats": -LARGEST_INTEGER - 1}):
        with pytest.raises(RequestError, match="is beyond"):
            decoder.decode(body({"instances": [{**ROW, **beyond}]}))


def test_a_long_value_is_shortened_in_the_message(decoder):
    with pytest.raises(RequestError) as refused:
        decoder.decode(body({"instances": [{**ROW, "distance": "x" * 10**6}]}))
    assert len(str(refused.value)) < 120


def test_an_unknown_column_gets_the_closest_name_and_a_far_one_none(decoder):
    with pytest.raises(RequestError, match=r"row 0: unknown column .carier., did you mean 'carrier'\?$"):
        decoder.decode(body({"instances": [{**ROW, "carier": "UA"}]}))
    with pytest.raises(RequestError, match=r'row 0: unknown column "zzz"$'):
        decoder.decode(body({"instances": [{**ROW, "zzz": "UA"}]}))


def test_a_value_is_refused_however_deeply_it_is_nested(decoder):
    nested: Any = 1
    for depth in range(1, 1100):  # where what reads it gives up, and what explains it, depends on the stack
        nested = [nested]
        posted = b'{"instances": [{"distance": %b1%b, "month": 1, "carrier": ""}]}' % (b"[" * depth, b"]" * depth)
        assert isinstance(outcome(decoder, posted), RequestError)
        with pytest.raises(RequestError):
            decoder.rows_of({"distance": [nested], "month": [1], "carrier": [""]})


def one_number() -> RequestDecoder:
    """The decoder of a model of one column, whose rows may be a byte each."""
    return RequestDecoder(Schema("m", "regression", "y", (Column("x", ColumnType.NUMBER, required=False),), ()))


@pytest.mark.parametrize(
    "ways",
    [lambda rows: {"instances": rows}, lambda rows: {"inputs": rows}, lambda rows: {"inputs": {"x": rows}}],
)
def test_a_request_of_more_rows_than_the_limit_is_too_large(ways):
    decoder = one_number()
    assert len(decoder.decode(body(ways([1] * ROWS_LIMIT))).rows) == ROWS_LIMIT
    with pytest.raises(TooLargeError, match=f"the request has {ROWS_LIMIT + 1} rows, the limit is {ROWS_LIMIT}: post"):
        decoder.decode(body(ways([1] * (ROWS_LIMIT + 1))))


def test_so_is_one_of_tensors_and_one_of_objects_which_are_counted_before_they_are_decoded(monkeypatch):
    decoder = one_number()
    assert len(decoder.rows_of({"x": [1.0] * ROWS_LIMIT})) == ROWS_LIMIT
    columns = {"x": [1.0] * (ROWS_LIMIT + 1)}
    with pytest.raises(TooLargeError):
        decoder.rows_of(columns)
    assert columns == {"x": []}, "the error would keep them in memory"
    assert len(decoder.decode(body({"instances": [{}] * ROWS_LIMIT})).rows) == ROWS_LIMIT
    monkeypatch.setattr(decoder, "_decoder", None)
    with pytest.raises(TooLargeError):
        decoder.decode(body({"instances": [{}] * (ROWS_LIMIT + 1)}))


def test_a_body_of_more_values_than_are_explained_is_refused_in_the_fast_decoder_s_words():
    few, many = [1] * 1000 + ["x"], [1] * EXPLAINED + ["x"]
    found = [str(outcome(one_number(), body({"instances": values}))) for values in (few, many)]
    assert found[0].startswith("row 1000, column 'x': \"x\" is a string")
    assert found[1].startswith("the body is no predict request: Expected")


def test_a_column_posted_twice_is_checked_both_times(decoder):
    twice = body({"instances": [ROW]}).replace(b'"month": 1', b'"month": "one", "month": 1')
    with pytest.raises(RequestError, match="month"):
        decoder.decode(twice)


def test_a_schema_with_a_name_that_json_must_escape_is_refused():
    columns = (Column('a"b', ColumnType.NUMBER, required=True),)
    with pytest.raises(InputError, match="cannot be a JSON key"):
        RequestDecoder(Schema("x", "binary", "y", columns, ()))
