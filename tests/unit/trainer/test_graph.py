import numpy as np
import pytest
import tensorflow as tf

from penstock_trainer import graph
from penstock_trainer.errors import InputError
from penstock_trainer.examples import MISSING, UNKNOWN
from penstock_trainer.features import Bucketized, Crossed, Missing, Scaled, Vocabulary
from penstock_trainer.graph import Encoder, Featurizer, InputSpec
from penstock_trainer.problem import Category, Label, Number, Problem, TimeSplit, Timestamp
from penstock_trainer.ranges import IntRange
from penstock_trainer.statistics import CategoryStatistics, NumberStatistics

SIZES = np.array([1, 2, 3, 4, np.nan], np.float32)
STATISTICS = {
    "size": NumberStatistics.of(SIZES),
    "kind": CategoryStatistics.of(["oak", "elm", "fir"], [5, 3, 1], missing=1),
    "same": NumberStatistics.of(np.full(4, 7, np.float32)),
}


def problem(*features, **changed):
    fields = {
        "name": "toy",
        "columns": {
            "when": Timestamp(),
            "size": Number(),
            "same": Number(),
            "kind": Category(),
            "cost": Number(outcome=True),
        },
        "label": Label("dear", of=lambda columns: tf.cast(columns["cost"] > 1, tf.float32)),
        "split": TimeSplit("when", validation="2013-10-01", test="2013-11-01"),
        "features": features,
        "model": print,
    }
    return Problem(**{**fields, **changed})


def apply(feature, column, hyperparameters=None):
    featurizer = Featurizer(problem(feature), STATISTICS, hyperparameters or {})
    columns = {"size": tf.constant(SIZES), "kind": tf.constant([0]), "same": tf.constant([7.0])}
    (answer,) = featurizer({**columns, **column}).values()
    return answer.numpy()


def test_a_z_score_has_mean_0_and_deviation_1_and_missing_is_the_mean():
    scaled = apply(Scaled("size"), {})
    assert scaled[:4].mean() == pytest.approx(0)
    assert scaled[:4].std() == pytest.approx(1)
    assert scaled[4] == 0


def test_min_max_runs_from_0_to_1_and_log_keeps_the_sign():
    assert apply(Scaled("size", by="min_max"), {})[:4] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    logs = apply(Scaled("size", by="log"), {"size": tf.constant([-4.0, 0.0, 4.0])})
    assert logs == pytest.approx([-1, 0, 1])


def test_a_column_of_one_value_is_scaled_to_nothing_instead_of_infinity():
    assert apply(Scaled("same"), {"same": tf.constant([7.0, 8.0])}).tolist() == [0, 0]


def test_missing_is_seen_in_numbers_and_in_categories():
    assert apply(Missing("size"), {}).tolist() == [0, 0, 0, 0, 1]
    assert apply(Missing("kind"), {"kind": tf.constant([0, MISSING, UNKNOWN])}).tolist() == [0, 1, 0]


def test_buckets_keep_the_order_of_the_values_and_missing_has_its_own():
    ids = apply(Bucketized("size", buckets=4), {})
    assert ids[4] == 0
    assert ids[0] >= 2
    assert (np.diff(ids[:4]) >= 0).all()
    assert len(set(ids.tolist())) == 5


def test_a_bucket_count_is_recut_from_the_same_statistics():
    feature = Bucketized("size", buckets=IntRange(2, 4))
    few, many = (apply(feature, {}, {"size_bucketized.buckets": count}).max() for count in (2, 4))
    assert (few, many) == (3, 5)


def test_a_smaller_vocabulary_is_a_threshold_on_the_rank():
    codes = {"kind": tf.constant([0, 1, 2, MISSING, UNKNOWN])}
    assert apply(Vocabulary("kind"), codes).tolist() == [2, 3, 4, 0, 1]
    assert apply(Vocabulary("kind", size=1), codes).tolist() == [2, 1, 1, 0, 1]
    assert apply(Vocabulary("kind", minimum_count=3), codes).tolist() == [2, 3, 1, 0, 1]


def test_a_cross_tells_all_pairs_apart_where_there_is_room_and_stays_in_range_where_not():
    left, right = Vocabulary("kind"), Bucketized("size", buckets=4)
    sizes, codes = np.meshgrid(SIZES, [0, 1, 2, MISSING, UNKNOWN])
    columns = {"size": tf.constant(sizes.ravel()), "kind": tf.constant(codes.ravel())}
    wide, narrow = (apply(Crossed(left, right, buckets=buckets), columns) for buckets in (1000, 7))
    assert len(set(wide.tolist())) == 25
    assert set(narrow.tolist()) <= set(range(7))
    assert len(set(narrow.tolist())) >= 5


def test_every_id_is_below_what_its_spec_says():
    features = [Vocabulary("kind"), Bucketized("size", buckets=4), Crossed(Vocabulary("kind"), Vocabulary("kind"))]
    featurizer = Featurizer(problem(*features), STATISTICS, {})
    columns = {"size": tf.constant(SIZES), "kind": tf.constant([0, 1, 2, MISSING, UNKNOWN]), "same": tf.constant([7.0])}
    for name, ids in featurizer(columns).items():
        assert ids.numpy().min() >= 0
        assert ids.numpy().max() < featurizer.specs()[name].ids
    assert featurizer.specs()["kind_vocabulary"] == InputSpec(5, 4)


def test_the_encoder_gives_the_rank_or_missing_or_unknown():
    encoder = Encoder({"kind": STATISTICS["kind"].ranked()})
    assert encoder("kind", tf.constant(["oak", "fir", "", "ash"])).numpy().tolist() == [0, 2, MISSING, UNKNOWN]


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
