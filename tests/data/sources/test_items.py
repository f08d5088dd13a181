"""Where items have their image and label, and which labels are classes."""

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset

from dal.data import from_dataset
from dal.errors import DalError

IMAGES = torch.randn(9, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Named = namedtuple("Named", "photo kind")


def made(item, **settings):
    items = [item(IMAGES[i], i % 3) for i in range(9)]
    return from_dataset(items, **{"num_classes": 3} | settings)


@pytest.mark.parametrize(
    ("item", "keys"),
    [
        (lambda x, y: {"image": x, "label": y}, {"image": "image", "label": "label"}),
        (lambda x, y: {0: x, 1: y}, {"image": 0, "label": 1}),
        (lambda x, y: (y, "meta", x), {"image": 2, "label": 0}),
        (lambda x, y: (x, "meta", y), {"label": 2}),
        (lambda x, y: (x, y, {"where": "here"}), {}),
        (lambda x, y: SimpleNamespace(photo=x, kind=y), {"image": "photo", "label": "kind"}),
        (lambda x, y: Named(x, y), {"image": "photo", "label": "kind"}),
        (lambda x, y: Named(x, y), {}),
    ],
)
def test_images_and_labels_of_an_item(item, keys):
    data = made(item, **keys)
    assert torch.equal(data.plain(range(9)), IMAGES) and data.labels.tolist() == [0, 1, 2] * 3
    plain = [item(IMAGES[i], i % 3) for i in range(9)]
    augmented = made(item, plain=plain, **keys).augmented([3], torch.Generator().manual_seed(0))
    assert torch.equal(augmented, IMAGES[3:4])


@pytest.mark.parametrize(
    ("item", "keys", "sentence"),
    [
        (
            lambda x, y: {"image": x, "label": y},
            {},
            "dataset[0]: expected image= and label=, the keys of a dict item ('image', 'label'), got neither.",
        ),
        (
            lambda x, y: {"image": x, "label": y},
            {"image": "img", "label": "label"},
            "image: expected a key or position of dataset[0], a dict with 'image', 'label', got 'img'.",
        ),
        (
            lambda x, y: {"image": x, "label": y},
            {"image": "image"},
            "dataset[0]: expected label=, the place of the label in the item, or labels= for all, got 'dict'.",
        ),
        (lambda x, y: (x, y), {"label": 2}, "label: expected a key or position of dataset[0], a tuple of 2, got 2."),
        (
            lambda x, y: (x, y),
            {"image": "x"},
            "image: expected a key or position of dataset[0], a tuple of 2, got 'x'.",
        ),
    ],
)
def test_items_without_an_image_or_a_label_there(item, keys, sentence):
    with pytest.raises(DalError) as error:
        made(item, **keys)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    "label",
    [
        lambda y: F.one_hot(torch.tensor(y), 3),
        lambda y: F.one_hot(torch.tensor(y), 3).double(),
        lambda y: F.one_hot(torch.tensor(y), 3).bool(),
        lambda y: np.eye(3)[y],
        lambda y: [float(y == c) for c in range(3)],
        lambda y: np.int16(y),
        lambda y: torch.tensor([y]),
    ],
)
def test_labels_that_say_one_class(label):
    assert made(lambda x, y: (x, label(y))).labels.tolist() == [0, 1, 2] * 3
    rows = [label(i % 3) for i in range(9)]
    assert made(lambda x, y: (x, y), labels=rows).labels.tolist() == [0, 1, 2] * 3


SOFT = "(soft labels are not supported; task=MULTI_LABEL takes several), got"


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        (torch.tensor([0.25, 0.25, 0.5]), f"{SOFT} [0.25, 0.25, 0.5]."),
        (np.array([0.5, 0.5, 0.0]), f"{SOFT} [0.5, 0.5, 0.0]."),
        ([1, 1, 0], f"{SOFT} [1, 1, 0]."),
        ([0, 0, 0], f"{SOFT} [0, 0, 0]."),
        (["a", "b"], f"{SOFT} ['a', 'b']."),
        ("cat", "expected a class number, None or -1 as the label of point 4, got 'cat'."),
        (1.0, "expected a class number, None or -1 as the label of point 4, got 1.0."),
    ],
)
def test_labels_that_say_no_class_or_several(label, sentence):
    labels = [i % 3 for i in range(9)]
    labels[4] = label
    with pytest.raises(DalError) as error:
        made(lambda x, y: (x, y), labels=labels)
    assert str(error.value).startswith("labels: expected ") and str(error.value).endswith(sentence)


class Stream(IterableDataset):
    def __iter__(self):
        yield IMAGES[0], 0

    def __len__(self):
        return 1


@pytest.mark.parametrize("dataset", [Stream(), DataLoader([1, 2]), iter([1]), "photos"])
def test_what_has_no_positions_is_refused(dataset):
    with pytest.raises(
        DalError, match=r"^dataset: expected a dataset with a length and positions, which a stream does"
    ):
        from_dataset(dataset, num_classes=3)
