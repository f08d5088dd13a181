import pytest
import torch

from dal.data import load
from dal.data.images import ImageData, ImageSplits, SubsetSource, TensorSource
from dal.data.sets.config import DataConfig
from dal.errors import DalError

PIXELS = torch.arange(4 * 3 * 2 * 2, dtype=torch.uint8).view(4, 3, 2, 2)


def data(**changes):
    fields = {
        "name": "toy",
        "source": TensorSource(PIXELS),
        "ids": ["a", "b", "c", "d"],
        "labels": torch.tensor([0, 1, -1, 1]),
        "classes": ["cat", "dog"],
        "mean": [0.1, 0.2, 0.3],
        "std": [0.5, 0.25, 1.0],
    }
    return ImageData(**(fields | changes))


def test_plain_is_normalized_channel_by_channel():
    expected = (PIXELS[[2, 0]].double() / 255 - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor(
        [0.5, 0.25, 1.0]
    ).view(3, 1, 1)
    plain = data().plain([2, 0])
    assert plain.dtype == torch.float32
    torch.testing.assert_close(plain.double(), expected, rtol=0, atol=1e-5)
    assert data().image_shape == (3, 2, 2)


def test_one_mean_serves_all_channels():
    torch.testing.assert_close(data(mean=[0.5], std=[0.5]).plain([0]), (PIXELS[:1] / 255 - 0.5) / 0.5)


@pytest.mark.parametrize(("argument", "value"), [("mean", []), ("std", [1.0, 1.0])])
def test_a_mean_that_does_not_fit_the_channels_is_refused(argument, value):
    with pytest.raises(DalError, match=rf"^{argument}: expected one number for each of the 3 channels"):
        data(**{argument: value}).plain([0])


@pytest.mark.parametrize(
    ("argument", "value"),
    [("mean", float("nan")), ("mean", float("inf")), ("std", 0.0), ("std", -1.0), ("std", float("nan"))],
)
def test_statistics_that_cannot_normalize_are_refused(argument, value):
    with pytest.raises(DalError, match=rf"^{argument}: expected (positive )?finite numbers, got"):
        data(**{argument: [0.5, value, 0.5]})


def test_an_empty_mean_does_not_swallow_the_one_channel():
    grey = ImageData("grey", TensorSource(PIXELS[:, :1]), list("abcd"), torch.zeros(4, dtype=torch.int64), ["x", "y"])
    with pytest.raises(DalError, match=r"^mean"):
        grey.plain([0])


def test_augmentation_comes_before_normalization():
    doubled = data(augmentation=lambda images, generator: images * 2, mean=[0.0], std=[1.0])
    torch.testing.assert_close(doubled.augmented([1], torch.Generator()), PIXELS[1:2] * 2 / 255)
    torch.testing.assert_close(doubled.plain([1]), PIXELS[1:2] / 255)


def test_subset_renumbers_both_views_and_keeps_ids():
    class Marked:
        def __len__(self):
            return 4

        def augmented_batch(self, indices, generator):
            return PIXELS[torch.as_tensor(indices)].float() + 1000

    part = data(augmented_source=Marked()).subset([3, 1]).subset([1, 0])
    assert list(part.ids) == ["b", "d"]
    assert part.labels.tolist() == [1, 1]
    torch.testing.assert_close(part.augmented([1], torch.Generator()), PIXELS[[3]].float() + 1000)
    torch.testing.assert_close(part.plain([0]), data().plain([1]))
    assert len(SubsetSource(TensorSource(PIXELS), [3, 1])) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": ["a", "b"]}, "ids: expected one for each of the 4 images, got 2."),
        ({"ids": ["a", "b", "c", "b"]}, "ids: expected each id once, got 'b'."),
        (
            {"labels": torch.tensor([0, 1, 2, 0])},
            "labels: expected class numbers from 0 to 1, -1 for unknown, or -2 for none of them, got 2.",
        ),
        (
            {"labels": torch.tensor([0, 1, -3, 0])},
            "labels: expected class numbers from 0 to 1, -1 for unknown, or -2 for none of them, got -3.",
        ),
        ({"labels": torch.zeros(4)}, "labels: expected int64 (4,), got torch.float32 (4,)."),
        ({"classes": ["cat", "cat"]}, "classes: expected each class name once, got 'cat' twice."),
        ({"classes": ["cat", ""]}, "classes: expected class names that are not empty, got ''."),
        ({"classes": ["cat", " \u200b"]}, "classes: expected class names that are not empty, got ' \\u200b'."),
        (
            {"classes": ["cat", "cat\u200b"]},
            "classes: expected class names that look different, got 'cat' and 'cat\\u200b'.",
        ),
        ({"classes": ["cat"]}, "classes: expected at least two classes, got ['cat']."),
    ],
)
def test_refused(changes, message):
    with pytest.raises(DalError) as error:
        data(**changes)
    assert str(error.value) == message


def test_pixels_must_be_bytes():
    with pytest.raises(DalError, match=r"^images: expected a uint8 tensor"):
        TensorSource(torch.zeros(1, 3, 2, 2))


def test_a_fingerprint_has_a_part_each_for_ids_and_classes_labels_and_pixels():
    names, labels, pixels = data().fingerprint().split("-")
    assert data(mean=[0.5], name="other").fingerprint() == f"{names}-{labels}-{pixels}"
    for change in ({"ids": list("abdc")}, {"ids": list("abce")}, {"classes": ["dog", "cat"]}):
        other = data(**change).fingerprint().split("-")
        assert other[0] != names and other[1:] == [labels, pixels]
    other = data(labels=torch.tensor([0, 1, -1, 0])).fingerprint().split("-")
    assert other[1] != labels and [other[0], other[2]] == [names, pixels]
    other = data(source=TensorSource(PIXELS + 1)).fingerprint().split("-")
    assert other[2] != pixels and other[:2] == [names, labels]


def test_the_fingerprint_of_splits_has_a_part_for_the_test_set():
    train = data()
    alone, tested = ImageSplits(train, None).fingerprint(), ImageSplits(train, data()).fingerprint()
    assert alone == f"{train.fingerprint()}-" and tested.startswith(alone) and len(tested) > len(alone)
    assert ImageSplits(train, data(labels=torch.tensor([1, 1, 1, 1]))).fingerprint() not in (alone, tested)


def test_a_subset_has_the_digests_of_its_images():
    digests = data().source.digests(range(4))
    assert len(set(digests)) == 4
    assert data().subset([3, 1]).source.digests([1, 0]) == [digests[1], digests[3]]
    assert SubsetSource(object(), [0]).digests([0]) is None


def test_load_makes_the_imbalance_first_and_leaves_the_test_set_alone():
    class Toy(DataConfig):
        def read(self):
            pixels = torch.zeros(40, 1, 2, 2, dtype=torch.uint8), torch.ones(40, 1, 2, 2, dtype=torch.uint8)
            ids = [f"p{i}" for i in range(40)]
            labels = torch.arange(40) % 2
            splits = [ImageData("toy", TensorSource(p), ids, labels, ["a", "b"], [0.5], [0.5]) for p in pixels]
            return ImageSplits(*splits)

    train, test = load(Toy(max_train=22, imbalance_factor=10.0))
    assert train.labels.bincount().tolist() == [20, 2]
    assert len(test) == 40
