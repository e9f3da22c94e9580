import numpy as np
import pytest
import tensorflow as tf

from penstock_trainer.errors import InputError
from penstock_trainer.examples import MISSING, UNKNOWN
from penstock_trainer.features import Bucketized, Crossed, Cyclic, Hashed, Missing, Scaled, Vocabulary
from penstock_trainer.featurizer import Featurizer, InputSpec
from penstock_trainer.graph import Encoder
from penstock_trainer.ranges import Choice, IntRange

from ._toy import SIZES, STATISTICS, problem


def apply(feature, column, hyperparameters=None):
    featurizer = Featurizer(problem(feature), STATISTICS, hyperparameters or {})
    columns = {"size": tf.constant(SIZES), "kind": tf.constant([0]), "same": tf.constant([7.0])}
    (answer,) = featurizer({**columns, **column}).values()
    return answer.numpy().squeeze(axis=1) if answer.shape.rank == 2 and answer.shape[1] == 1 else answer.numpy()


def test_a_z_score_has_mean_0_and_deviation_1_and_missing_is_the_mean():
    scaled = apply(Scaled("size"), {})
    assert scaled[:4].mean() == pytest.approx(0)
    assert scaled[:4].std() == pytest.approx(1)
    assert scaled[4] == 0


def test_min_max_runs_from_0_to_1_and_log_keeps_the_sign():
    assert apply(Scaled("size", by="min_max"), {})[:4] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    logs = apply(Scaled("size", by="log"), {"size": tf.constant([-4.0, 0.0, 4.0])})
    assert logs == pytest.approx([-1, 0, 1])


def test_a_way_of_scaling_that_is_tuned_is_the_one_the_trial_has_and_else_the_first():
    chosen = Scaled("size", by=Choice("min_max", "log"))
    assert problem(chosen).search_space() == {"size_scaled.by": Choice("min_max", "log")}
    assert apply(chosen, {}).tolist() == apply(Scaled("size", by="min_max"), {}).tolist()
    tuned = apply(chosen, {}, {"size_scaled.by": "log"})
    assert tuned.tolist() == apply(Scaled("size", by="log"), {}).tolist() != apply(chosen, {}).tolist()


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


def test_a_cyclic_number_comes_round_again_and_missing_is_the_middle():
    found = apply(Cyclic("size", period=24), {"size": tf.constant([0.0, 6.0, 24.0, -18.0, np.nan])})
    assert found == pytest.approx(np.array([[0, 1], [1, 0], [0, 1], [1, 0], [0, 0]]), abs=1e-6)


def test_given_edges_cut_where_they_say():
    ids = apply(Bucketized("size", edges=(2.0, 3.5)), {"size": tf.constant([1.9, 2.0, 3.0, 3.5, np.nan])})
    assert ids.tolist() == [2, 3, 3, 4, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Bucketized("size"),
        lambda: Bucketized("size", buckets=3, edges=(1.0,)),
        lambda: Bucketized("size", edges=(2.0, 1.0)),
        lambda: Cyclic("size", period=0),
    ],
)
def test_a_feature_that_cannot_be_is_refused(wrong):
    with pytest.raises(InputError, match="size"):
        wrong()


def test_a_hashed_category_has_the_same_id_whether_training_saw_it_or_not():
    words = ["oak", "elm", "fir", "ash", "yew", ""]
    feature = Hashed("kind", buckets=1000)
    seen = apply(feature, {"kind": Encoder({"kind": STATISTICS["kind"].ranked()})("kind", tf.constant(words))})
    unseen = apply(feature, {"kind": Encoder({"kind": ["other"]})("kind", tf.constant(words[3:]))})
    assert seen[3:].tolist() == unseen.tolist()
    assert len(set(seen.tolist())) == 6
    assert seen[5] == 0
    assert seen.max() <= 1000
