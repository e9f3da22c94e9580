import pytest
import tensorflow as tf

from penstock_trainer import graph
from penstock_trainer.errors import InputError
from penstock_trainer.examples import MISSING, UNKNOWN
from penstock_trainer.features import Scaled
from penstock_trainer.graph import Encoder
from penstock_trainer.problem import Number

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


def test_the_signature_takes_what_derive_and_features_use_and_no_more():
    toy = problem(Scaled("d"), derive=lambda c: {"d": c["size"] * 2.0}, derived={"d": Number()})
    assert list(graph.signature_columns(toy)) == ["size"]
