import pytest
import torch

from dal.data import load
from dal.data.images import ImageData, TensorSource
from dal.data.sets.digits import Digits
from dal.data.variants.subset import imbalanced, random_subset, without_classes
from dal.errors import DalError
from dal.tasks.base import OUT_OF_CLASS, UNKNOWN


def data(labels, num_classes, ids=None):
    labels = torch.as_tensor(labels)
    pixels = (torch.arange(len(labels)) % 256).to(torch.uint8).view(-1, 1, 1, 1)
    ids = ids or [f"p{i}" for i in range(len(labels))]
    return ImageData("toy", TensorSource(pixels), ids, labels, [str(c) for c in range(num_classes)], [0.0], [1.0])


def test_subset_is_the_same_each_time_sorted_and_carries_its_pixels():
    whole = data(torch.arange(200) % 2, 2)
    part = random_subset(whole, 50)
    positions = [int(name[1:]) for name in part.ids]
    assert positions == sorted(set(positions))
    assert len(positions) == 50
    assert list(part.ids) == list(random_subset(whole, 50).ids)
    assert part.plain(range(50)).mul(255).round().flatten().tolist() == positions
    assert part.labels.tolist() == [p % 2 for p in positions]
    assert 60 < sum(positions) / 50 < 140


def test_subsets_are_nested_and_follow_ids_not_positions():
    whole = data(torch.arange(100) % 2, 2)
    assert set(random_subset(whole, 10).ids) < set(random_subset(whole, 20).ids)
    turned = data(torch.arange(100) % 2, 2, ids=[f"p{99 - i}" for i in range(100)])
    assert set(random_subset(turned, 10).ids) == set(random_subset(whole, 10).ids)


def test_whole_set_is_a_subset():
    assert list(random_subset(data([0, 1], 2), 2).ids) == ["p0", "p1"]


@pytest.mark.parametrize("size", [0, -1, 3])
def test_size_out_of_range(size):
    with pytest.raises(DalError) as error:
        random_subset(data([0, 1], 2), size)
    assert (
        str(error.value) == f"size (data.max_train): expected from 1 to 2, the number of training points, got {size}."
    )


def test_long_tail_has_the_counts_of_cifar10_lt():
    counts = imbalanced(data(torch.arange(50_000) % 10, 10), 100).labels.bincount().tolist()
    assert counts == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_long_tail_keeps_order_and_what_a_small_class_has():
    tail = imbalanced(data([0] * 20 + [1] * 3 + [2] * 20, 3), 4)
    assert tail.labels.bincount().tolist() == [20, 3, 5]
    positions = [int(name[1:]) for name in tail.ids]
    assert positions == sorted(positions)


def test_factor_one_keeps_all_and_a_huge_factor_one_a_class():
    whole = data(torch.arange(40) % 4, 4)
    assert len(imbalanced(whole, 1)) == 40
    assert imbalanced(whole, 1e9).labels.bincount().tolist()[-1] == 1


@pytest.mark.parametrize("factor", [0.5, float("nan")])
def test_factor_below_one(factor):
    with pytest.raises(DalError, match=r"^factor \(data.imbalance_factor\): expected a number from 1, got"):
        imbalanced(data([0, 1], 2), factor)


def test_unknown_labels():
    with pytest.raises(DalError, match="data whose labels are all known, got '2 unknown labels'"):
        imbalanced(data([0, -1, 1, -1], 2), 2)


def test_classes_taken_away_leave_their_images():
    whole = data([0, 1, 2, 3, -1, 2], 4)
    open_set = without_classes(whole, 2)
    assert open_set.labels.tolist() == [0, 1, OUT_OF_CLASS, OUT_OF_CLASS, UNKNOWN, OUT_OF_CLASS]
    assert list(open_set.classes) == ["0", "1"] and list(open_set.ids) == list(whole.ids)
    assert open_set.fingerprint() != whole.fingerprint()
    assert whole.labels.tolist() == [0, 1, 2, 3, -1, 2]
    assert without_classes(whole, 0).labels.tolist() == whole.labels.tolist()


@pytest.mark.parametrize("count", [-1, 3, 4])
def test_two_classes_must_be_left(count):
    with pytest.raises(DalError, match=r"count \(data.outside_classes\): expected from 0 to 2, so that at least two"):
        without_classes(data([0, 1, 2, 3], 4), count)


def test_the_test_set_has_the_other_classes_only():
    train, test = load(Digits(outside_classes=4))
    before = load(Digits())
    assert (train.num_classes, test.num_classes) == (6, 6) and len(train) == 1297
    assert int((train.labels == OUT_OF_CLASS).sum()) == int((before.train.labels >= 6).sum())
    assert len(test) == int((before.test.labels < 6).sum()) and test.labels.max() == 5 and test.labels.min() == 0
