import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from . import _exact


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9])), min_size=2, max_size=80))
def test_binary_metrics_agree_with_scikit_learn_ties_included(rows):
    labels, scores = np.array([r[0] for r in rows], np.float32), np.array([r[1] for r in rows], np.float32)
    found = _exact.binary(labels, scores)
    assert found["log_loss"] == pytest.approx(log_loss(labels, scores.astype(float), labels=[0, 1]), rel=1e-6)
    if 0 < labels.sum() < len(labels):
        assert found["auc"] == pytest.approx(roc_auc_score(labels, scores))
