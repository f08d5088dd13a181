from dataclasses import replace

import numpy as np
import pytest
from helpers.labeled_histories import simulated

from dal.analysis.diagnosis import collect
from dal.analysis.diagnosis.history import Pool


def with_errors(labels, a=0.9, b=0.5, seed=0, images=60):
    """Test images of each class are wrong with probability a (n + 1)^-b."""
    generator = np.random.default_rng(seed)
    labels = np.asarray(labels)
    rounds, classes = labels.shape
    history, _ = simulated(0, rounds=rounds, classes=classes, test=classes * images)
    rate = np.minimum(a * (np.cumsum(labels, axis=0) + 1.0) ** -b, 1.0)[:, history.test_label]
    wrong = generator.random(len(history.test_label)) < rate
    predicted = np.where(wrong, (history.test_label + 1) % classes, history.test_label)
    pool = [None] + [Pool(np.bincount(p, minlength=classes), np.zeros(classes), len(p)) for p in predicted[:-1]]
    return replace(history, new_labels=labels, query_sizes=labels.sum(axis=1), test_predicted=predicted, pool=pool)


RARE = np.tile([8] * 7 + [0] * 3, (10, 1))
RARE[[0, 4, 8], 7:] = 1


@pytest.mark.parametrize("seed", range(4))
def test_rare_classes_are_first(seed):
    table = collect.detect(with_errors(RARE, seed=seed)).tables["collect"]
    assert set(table["class"][:3]) == {7, 8, 9}


def test_a_rare_class_is_named_with_images_that_are_wrong():
    history = with_errors(RARE)
    found = collect.detect(history)
    assert {finding.classes[0] for finding in found.findings} <= {7, 8, 9}
    first = found.findings[0]
    assert "have the most to gain: " in first.sentence
    assert len(first.points) == 6
    assert not history.right[-1, list(first.points)].any()
    assert (history.test_label[list(first.points)] == first.classes[0]).all()


@pytest.mark.parametrize("seed", range(5))
def test_equal_classes_get_no_headline(seed):
    assert collect.detect(with_errors(np.full((8, 6), 4), seed=seed)).findings == ()


def test_the_interval_has_the_true_gain():
    # Query of 40 labels: 5 classes with 40 labels each at the end.
    labels = np.full((5, 5), 8)
    truth = 0.9 * (41**-0.5 - 81**-0.5)
    inside = 0
    for seed in range(8):
        table = collect.detect(with_errors(labels, seed=seed, images=200)).tables["collect"]
        inside += ((table["low"] <= truth) & (truth <= table["high"])).sum()
    assert inside >= 24  # 32 of 40 are expected; classes of a run share their exponent


def test_what_the_pool_has_left_decides_between_label_and_collect():
    history = with_errors(RARE)
    counts = np.array([100] * 9 + [0])
    history = replace(history, test_predicted=np.tile(history.test_label, (10, 1)))
    history = replace(history, pool=[None] * 9 + [Pool(counts, np.zeros(10), 900)])
    table = collect.detect(history).tables["collect"].set_index("class")
    assert table.loc[9, "advice"] == "collect"
    low, high = map(int, table.loc[0, "left_in_pool"].split(" to "))
    assert low <= 100 - 8 <= high and low >= 56
    assert table.loc[0, "advice"] == "label"


def test_without_a_record_of_the_pool_it_cannot_be_told():
    table = collect.detect(replace(with_errors(RARE), pool=[None] * 10)).tables["collect"]
    assert set(table["left_in_pool"]) == {"unknown"}


def test_a_class_without_errors_has_nothing_to_gain():
    history = with_errors(np.full((8, 6), 4))
    of_class = history.of_class(0)
    history.test_predicted[-1, of_class] = 0
    table = collect.detect(history).tables["collect"].set_index("class")
    assert table.loc[0, ["gain", "low", "high"]].tolist() == [0.0, 0.0, 0.0]
    assert table["high"].max() > 0 and table.index[-1] == 0
