import pytest
import tensorflow as tf

from penstock_trainer import graph
from penstock_trainer.errors import InputError
from penstock_trainer.examples import MISSING, UNKNOWN
from penstock_trainer.features import Cyclic, Scaled
from penstock_trainer.graph import Encoder
from penstock_trainer.problem import Category, Label, Number, Text, Timestamp

from ._toy import STATISTICS, problem


def test_the_encoder_gives_the_rank_or_missing_or_unknown():
    encoder = Encoder({"kind": STATISTICS["kind"].ranked()})
    codes = encoder("kind", tf.constant(["oak", "fir", "", "ash", "yew"])).numpy()
    assert codes[:3].tolist() == [0, 2, MISSING]
    assert (codes[3:] <= UNKNOWN).all()
    assert codes[3] != codes[4]


@pytest.mark.parametrize(
    ("derive", "derived", "message"),
    [
        (lambda c: {"d": c["sise"]}, {"d": Number()}, "derive reads 'sise', which is no column; did you mean 'size'"),
        (lambda c: {"d": c["cost"]}, {"d": Number()}, "derive reads 'cost', an outcome"),
        (lambda c: {"e": c["size"]}, {"d": Number()}, r"derive returns \['e'\]"),
        (lambda c: {"d": c["kind"]}, {"d": Number()}, "derive returns 'd' as string, declared number"),
        (lambda c: {"d": c["size"] + c["kind"]}, {"d": Number()}, "derive of problem 'toy' fails"),
    ],
)
def test_a_derive_that_does_not_fit_its_declaration_is_refused_before_any_row_is_read(derive, derived, message):
    with pytest.raises(InputError, match=message):
        graph.check(problem(derive=derive, derived=derived))


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("when", "a timestamp, which is no number; have its parts as columns"),
        ("notes", "a text: only the features Tokens and Missing"),
    ],
)
def test_what_derive_cannot_see_as_the_served_model_does_is_refused(column, reason):
    columns = {**problem().columns, "notes": Text()}
    shown = {"derive": lambda c: {"d": tf.strings.upper(c[column])}, "derived": {"d": Category()}}
    with pytest.raises(InputError, match=f"derive reads '{column}', {reason}"):
        graph.check(problem(columns=columns, **shown))


def test_the_label_reads_a_text_and_no_timestamp():
    columns = {**problem().columns, "notes": Text()}

    def of(column):
        return lambda c: tf.cast(tf.strings.length(c[column]) > 3, tf.float32)

    graph.check(problem(columns=columns, label=Label("long", of=of("notes"))))
    with pytest.raises(InputError, match="the label reads 'when', a timestamp"):
        graph.check(problem(columns=columns, label=Label("long", of=of("when"))))


def test_the_signature_takes_what_derive_and_features_use_and_no_more():
    toy = problem(Scaled("d"), derive=lambda c: {"d": c["size"] * 2.0}, derived={"d": Number()})
    assert list(graph.signature_columns(toy)) == ["size"]


def test_a_label_may_read_the_parts_of_an_outcome_and_derive_may_not():
    columns = {**problem().columns, "sold": Timestamp(outcome=True, parts=("day_number",))}
    label = Label("late", of=lambda c: tf.cast(c["sold_day_number"] > 10.0, tf.float32))
    graph.check(problem(columns=columns, label=label))
    derived = {"derive": lambda c: {"d": c["sold_day_number"]}, "derived": {"d": Number()}}
    with pytest.raises(InputError, match="derive reads 'sold_day_number', an outcome"):
        graph.check(problem(columns=columns, **derived))
    assert "sold" not in problem(columns=columns).inputs


def test_the_signature_takes_the_timestamp_whose_part_is_used():
    columns = {**problem().columns, "when": Timestamp(parts=("hour", "month")), "then": Timestamp(parts=("hour",))}
    toy = problem(Cyclic("when_hour", period=24), columns=columns)
    assert list(graph.signature_columns(toy)) == ["when"]
