"""Timestamps in the graph: one grammar in three parsers, and a calendar that is Python's."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_trainer import graph, moments
from penstock_trainer.csv_blocks import _moments, _value_fault
from penstock_trainer.examples import MISSING
from penstock_trainer.problem import MOMENT_PARTS, Timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
COLUMNS = {"when": Timestamp(parts=MOMENT_PARTS)}
ACCEPTED = {
    "2013-10-01": 1380585600,
    "2013-10-01T05": 1380603600,
    "2013-10-01 05": 1380603600,
    "2013-10-01T05:06": 1380603960,
    "2013-10-01 05:06:07": 1380603967,
    "2013-10-01T05:06:07Z": 1380603967,
    "2013-10-01T05Z": 1380603600,
    "2013-10-01T05+02": 1380596400,
    "2013-10-01T05-0230": 1380612600,
    "2013-10-01T05:06+02": 1380596760,
    "2013-10-01T05:06:07-02:30": 1380612967,
    "2013-10-01T05:06:07+23:59": 1380517627,
    "2013-10-01T05:06:07.999999999999Z": 1380603967,
    "1969-12-31T23:59:59,5+00": -1,
    "2000-02-29T00:00:00.5+0200": 951775200,
    "0001-01-01": moments.FIRST,
    "9999-12-31T23:59:59": moments.LAST,
}
REFUSED = [
    "2013", "2013-10", "20131001", "2013-10-01Z", "2013-10-01+02:00", "2013-10-01t05:06:07", "2013-10-01T05:06:07z",
    "2013-10-01T050607", "2013-10-01T05:06:07 +02:00", "2013-10-01T05:06:07.", "2013-10-01T05:06.5", "2013-1-1",
    "2013-10-01T24:00", "2013-10-01T05:60", "2013-10-01T23:59:60", "2013-10-01T05:06:07+24:00", "2013-13-01",
    "2013-10-01T05:06:07+05:60", "2013-00-01", "2013-02-30", "1900-02-29", "2013-04-31", "2013-10-00", " 2013-10-01",
    "2013-10-01 ", "2013-10-01\n", "٢٠١٣-10-01", "0000-12-31", "10000-01-01", "0001-01-01T00:00+00:01",
    "9999-12-31T23:59-00:01", "soon",
]  # fmt: skip


def by_python(moment: datetime) -> list[float]:
    day = timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second)
    number = (moment - EPOCH).days
    date = moment.year, moment.month, moment.day, moment.weekday(), moment.timetuple().tm_yday
    return [*date, moment.hour, moment.minute, moment.second, number, day.seconds]


@pytest.fixture(scope="module")
def calendar():
    """Of seconds since 1970: every part as TensorFlow, LiteRT and NumPy find it."""

    @tf.function(input_signature=[tf.TensorSpec([moments.CELLS, None], tf.int32)])
    def taken(cells):
        found = graph.with_parts(COLUMNS, {"when": tf.transpose(cells)})
        return tf.stack([found[f"when_{part}"] for part in MOMENT_PARTS])

    converter = tf.lite.TFLiteConverter.from_concrete_functions([taken.get_concrete_function()], None)
    interpreter = Interpreter(model_content=converter.convert())
    (given_,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()

    def compiled(cells):
        interpreter.resize_tensor_input(given_["index"], cells.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given_["index"], cells)
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])

    def of_every_kind(seconds):
        cells = moments.cells(seconds)
        without = np.stack([*moments.parts(cells, MOMENT_PARTS).values()])
        return {"TensorFlow": taken(tf.constant(cells)).numpy(), "LiteRT": compiled(cells), "NumPy": without}

    return of_every_kind


def test_every_day_from_1900_to_2200_has_the_parts_that_python_says(calendar):
    first = datetime(1900, 1, 1, tzinfo=timezone.utc)
    days = [first + timedelta(days=day, seconds=day * 7919 % moments.DAY) for day in range(109_938)]
    assert days[-1].date().isoformat() == "2200-12-31"
    wanted = np.array([by_python(day) for day in days], np.float32).T
    for form, found in calendar([int(day.timestamp()) for day in days]).items():
        np.testing.assert_array_equal(found, wanted, form)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(moments.FIRST, moments.LAST) | st.none(), min_size=1, max_size=20))
def test_any_moment_of_the_years_1_to_9999_has_the_parts_that_python_says(calendar, seconds):
    nothing = [np.nan] * len(MOMENT_PARTS)
    wanted = [nothing if each is None else by_python(EPOCH + timedelta(seconds=each)) for each in seconds]
    for form, found in calendar(seconds).items():
        np.testing.assert_array_equal(found, np.array(wanted, np.float32).T, form)
    assert moments.from_cells(moments.cells(seconds)) == seconds


@pytest.mark.parametrize(("text", "seconds"), ACCEPTED.items())
def test_a_moment_is_read_alike_by_preprocessing_the_graph_and_the_server(text, seconds):
    assert moments.seconds(text) == seconds
    assert moments.seconds(moments.text(seconds)) == seconds
    assert _value_fault(text, Timestamp()) is None
    assert _moments(pa.chunked_array([[text]]))[0].cast(pa.int64()).as_py() == seconds
    found = graph.moments(tf.constant([text, ""])).numpy()
    np.testing.assert_array_equal(found, [np.divmod(seconds, moments.DAY), [MISSING, MISSING]])


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_moment_is_refused_by_preprocessing_the_graph_and_the_server(text):
    with pytest.raises(ValueError, match=r".+"):
        moments.seconds(text)
    assert _value_fault(text, Timestamp()) is not None
    with pytest.raises(tf.errors.InvalidArgumentError, match="a timestamp is no moment"):
        graph.moments(tf.constant(["2013-10-01", text]))


@settings(max_examples=100, deadline=None)
@given(st.from_regex(moments.PATTERN, fullmatch=True, alphabet="0123456789-+:.,TZ "))
def test_the_parsers_agree_on_whatever_the_grammar_allows(text):
    try:
        wanted = moments.seconds(text)
    except ValueError:
        wanted = None
    assert (_value_fault(text, Timestamp()) is None) == (wanted is not None)
    if wanted is None:
        with pytest.raises(tf.errors.InvalidArgumentError):
            graph.moments(tf.constant([text]))
    else:
        np.testing.assert_array_equal(graph.moments(tf.constant([text])).numpy()[0], np.divmod(wanted, moments.DAY))
