from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset

from dal.data.sets.torchvision import SETS, _classes
from dal.data.sources.torch_labels import class_names, default_ids, item_label, known_labels
from dal.errors import DalError


class Toy:
    """Item i has label item_labels[i]; reading items is counted."""

    def __init__(self, item_labels, **attributes):
        self.item_labels, self.read = item_labels, 0
        vars(self).update(attributes)

    def __len__(self):
        return len(self.item_labels)

    def __getitem__(self, index):
        self.read += 1
        return torch.zeros(1, 2, 2), self.item_labels[index]


def labels_of(dataset, labels=None):
    return known_labels(dataset, labels, read=dataset).tolist()


@pytest.mark.parametrize(
    "attributes",
    [
        {"targets": [1, 0, -1, 2] * 10},
        {"targets": torch.tensor([1, 0, -1, 2] * 10)},
        {"labels": np.array([1, 0, -1, 2] * 10)},
        {"targets": None, "samples": [("x.png", label) for label in [1, 0, -1, 2] * 10]},
    ],
    ids=["list", "tensor", "array", "samples"],
)
def test_listed_labels_are_taken_without_reading_every_item(attributes):
    dataset = Toy([1, 0, -1, 2] * 10, **attributes)
    assert labels_of(dataset) == [1, 0, -1, 2] * 10
    assert dataset.read <= 3


def test_given_labels_win_and_may_be_unknown():
    dataset = Toy([1, 1, 1], targets=[1, 1, 1])
    assert labels_of(dataset, [0, None, -1]) == [0, -1, -1]
    assert labels_of(dataset, torch.tensor([2, 0, 1])) == [2, 0, 1]
    assert dataset.read == 0


def test_items_are_read_where_nothing_is_listed():
    dataset = Toy([2, torch.tensor(1), np.int64(0), None])
    assert labels_of(dataset) == [2, 1, 0, -1]
    assert known_labels(dataset, None, read=dataset).dtype == torch.int64


def test_a_target_transform_makes_listed_labels_stale():
    assert labels_of(Toy([5, 6], targets=[0, 1], target_transform=lambda label: label + 5)) == [5, 6]


def test_something_else_of_that_name_is_not_taken():
    assert labels_of(Toy([1, 0], targets={"a": 1, "b": 2}, labels="ab")) == [1, 0]
    assert labels_of(Toy([1, 0], targets=[1, 1, 1])) == [1, 0]


def test_subsets_of_subsets():
    dataset = Toy([0, 1, 2, 3], targets=[0, 1, 2, 3], classes=list("abcd"))
    part = Subset(Subset(dataset, [3, 2, 1]), [2, 0])
    assert labels_of(part) == [1, 3]
    assert default_ids(part) == ["000001", "000003"]
    assert class_names(part, None, None) == list("abcd")


@pytest.mark.parametrize(
    ("dataset", "labels", "message"),
    [
        (Toy([1, 0]), [1], "labels: expected one label for each of the 2 points, got 1 labels."),
        (Toy([1, 0]), [1, 0.5], "labels: expected a class number, None or -1 as the label of point 1, got 0.5."),
        (Toy([1, "cat"]), None, "dataset: expected a class number, None or -1 as the label of point 1, got 'cat'."),
        (
            Toy([1, 0], targets=[1, 1]),
            None,
            "dataset: expected the label it lists for point 1, 1, also in dataset[1], got 0. Pass labels=.",
        ),
        (TensorDataset(torch.zeros(1, 2, 2)), None, "dataset[0]: expected an (image, label) pair, or labels= for all"),
    ],
)
def test_labels_refused(dataset, labels, message):
    with pytest.raises(DalError) as error:
        labels_of(dataset, labels)
    assert str(error.value).startswith(message)


def test_class_names_come_from_who_is_asked_first():
    dataset = Toy([0], classes=("cat", "dog"))
    assert class_names(dataset, None, None) == ["cat", "dog"]
    assert class_names(dataset, None, 2) == ["cat", "dog"]
    assert class_names(dataset, ["a", "b", "c"], None) == ["a", "b", "c"]
    assert class_names(Toy([0]), None, 3) == ["0", "1", "2"]


def test_classes_are_never_counted_from_labels():
    with pytest.raises(DalError, match=r"^classes: expected the class names or their number, .* Pass classes= or num_"):
        class_names(Toy([0, 1, 2], targets=[0, 1, 2]), None, None)
    with pytest.raises(DalError, match=r"^num_classes: expected 2, the number of class names, got 3"):
        class_names(Toy([0], classes=["cat", "dog"]), None, 3)


def test_ids_are_paths_relative_to_the_root():
    root = Path("data") / "set"
    dataset = Toy([0, 0], samples=[(str(root / "cat" / "1.png"), 0), ("other/2.png", 0)], root=str(root))
    assert default_ids(dataset) == ["cat/1.png", "other/2.png"]


def test_item_label():
    assert item_label((0, torch.tensor(3), "more")) == 3
    assert [item_label(item) for item in (torch.zeros(2), (0,), (0, "cat"), (0, None), (0, torch.zeros(2)))] == [
        None
    ] * 5


def test_classes_of_a_known_set_that_have_one_name_are_told_apart():
    tuples = [("crane",), ("great white shark", "white shark"), ("crane",)]
    wnids = ["n02012849", "n01484850", "n03126707"]
    expected = ["crane (n02012849)", "great white shark", "crane (n03126707)"]
    assert class_names(Toy([0, 1, 2], classes=tuples, wnids=wnids), None, None) == expected
    assert class_names(Toy([0, 1, 2], classes=["crane", "shark", "crane"]), None, 3) == [
        "crane (0)",
        "shark",
        "crane (2)",
    ]
    assert class_names(Toy([0, 1], classes=np.array(["a", "b"])), None, None) == ["a", "b"]
    assert _classes(Toy([0, 1, 2], classes=tuples, wnids=wnids), SETS["ImageNet"]) == expected


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["crane", "crane"], "each class name once, got 'crane' twice"),
        (["crane", ""], "class names that are not empty, got ''"),
        (["crane", "\u3164"], "class names that are not empty"),
        (["crane", "crane\u200b"], "class names that look different"),
    ],
)
def test_given_names_that_repeat_or_are_empty_are_refused(classes, message):
    with pytest.raises(DalError, match=f"^classes: expected {message}"):
        class_names(Toy([0, 1]), classes, None)
