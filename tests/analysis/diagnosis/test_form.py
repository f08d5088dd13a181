"""Records of a round whose classes people changed."""

import numpy as np

from dal.analysis.diagnosis.form import _wrong


def test_the_pool_may_be_counted_with_fewer_classes_than_the_test_set_but_not_with_more():
    def record(pool, test):
        probabilities = np.zeros(pool)
        counted = {"pool_counts": np.zeros(pool, int), "pool_probabilities": probabilities, "pool_size": np.array(0)}
        points = {name: np.zeros(2, int) for name in ("test_index", "test_label", "test_predicted")}
        of = {"test_of": np.array(0, np.uint8), "test_log_prob": np.zeros((2, test), np.float16)}
        return counted | points | of

    assert _wrong(record(3, 3)) is None and _wrong(record(3, 4)) is None
    assert _wrong(record(4, 3)) == "pool_counts"
    assert _wrong(record(3, 3) | {"pool_probabilities": np.zeros(2)}) == "pool_probabilities"
