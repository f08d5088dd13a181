import numpy as np
import pytest

from dal.analysis.statistics.label_errors import confident_joint, estimated_errors, estimated_joint


def noisy(seed, number=400, classes=4, noise=0.2):
    generator = np.random.default_rng(seed)
    true = generator.integers(classes, size=number)
    wrong = generator.random(number) < noise
    told = np.where(wrong, (true + generator.integers(1, classes, number)) % classes, true)
    scores = 3 * np.eye(classes)[true] + generator.standard_normal((number, classes))
    return told, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), wrong


def test_the_estimated_number_is_near_the_true_one():
    estimates = [(estimated_errors(told, p), wrong.sum()) for told, p, wrong in map(noisy, range(5))]
    for estimate, true in estimates:
        assert estimate == pytest.approx(true, rel=0.25)


def test_a_loop_by_hand_gives_the_same_joint():
    told, p, _ = noisy(0, number=50)
    limits = [p[told == k, k].mean() for k in range(4)]
    expected = np.zeros((4, 4))
    for label, row in zip(told, p, strict=True):
        confident = [k for k in range(4) if row[k] >= limits[k] - 1e-6]
        if confident:
            expected[label, confident[0] if len(confident) == 1 else row.argmax()] += 1
    assert confident_joint(told, p).tolist() == expected.tolist()


def test_a_class_without_labels_is_never_the_true_one():
    told, p, _ = noisy(0)
    kept = told != 2
    joint = estimated_joint(told[kept], p[kept])
    assert joint.sum() == pytest.approx(1)
    assert joint[:, 2].sum() == joint[2].sum() == 0


@pytest.mark.parametrize("seed", range(3))
def test_cleanlab_has_the_same_joint(seed):
    count = pytest.importorskip("cleanlab.count")
    told, p, _ = noisy(seed)
    assert confident_joint(told, p).tolist() == count.compute_confident_joint(told, p, calibrate=False).tolist()
    # cleanlab rounds to whole points.
    assert estimated_joint(told, p) == pytest.approx(count.estimate_joint(told, p), abs=1 / len(told))
