import pickle
import random
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision.datasets import FakeData, ImageFolder
from torchvision.transforms import v2

from dal.data import from_dataset
from dal.errors import DalError

PIXELS = torch.arange(6 * 3 * 4 * 5).remainder(251).to(torch.uint8).view(6, 3, 4, 5)
LABELS = [0, 1, 2, 0, 1, 2]


class Toy(Dataset):
    classes = ("a", "b", "c")

    def __init__(self, change=lambda image: image, labels=LABELS, pixels=PIXELS):
        self.change, self.targets, self.pixels = change, list(labels), pixels

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.change(self.pixels[index]), self.targets[index]


def add_noise(image):
    """Uses all three global generators."""
    return image.float() + torch.rand(1) + 10 * np.random.rand() + 100 * random.random()  # noqa: NPY002


def as_float(image):
    return image.float()


def global_states():
    numpy_state = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), random.getstate(), numpy_state[1].tolist(), numpy_state[2]


def to_pil(image):
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def test_uint8_tensors_are_normalized_and_floating_point_is_not():
    data = from_dataset(Toy(), mean=[0.1, 0.2, 0.3], std=[0.5, 0.6, 0.7])
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    torch.testing.assert_close(data.plain([4, 1]), (PIXELS[[4, 1]] / 255 - mean) / std)
    torch.testing.assert_close(from_dataset(Toy()).plain([0]), (PIXELS[:1] / 255 - 0.5) / 0.5)
    assert torch.equal(from_dataset(Toy(as_float)).plain([2]), PIXELS[2:3].float())
    assert from_dataset(Toy(lambda image: image.double())).plain([2]).dtype == torch.float32
    assert data.labels.tolist() == LABELS
    assert (list(data.ids)[:2], data.name, list(data.classes)) == (["000000", "000001"], "dataset", ["a", "b", "c"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (to_pil, PIXELS),
        (lambda image: image.permute(1, 2, 0).numpy(), PIXELS),
        (lambda image: to_pil(image).convert("L"), None),
        (lambda image: image[0].numpy(), PIXELS[:, :1]),
        (lambda image: image[1], PIXELS[:, 1:2]),
        (lambda image: image.permute(1, 2, 0).numpy().astype(np.float32), PIXELS.float()),
    ],
    ids=["pil", "numpy", "grey pil", "grey numpy", "grey tensor", "floating-point numpy"],
)
def test_kinds_of_images(change, expected):
    found = from_dataset(Toy(change)).source.batch(range(6))
    if expected is None:
        expected = torch.stack([torch.from_numpy(np.array(to_pil(image).convert("L")))[None] for image in PIXELS])
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


def test_pil_in_other_modes_becomes_rgb():
    data = from_dataset(Toy(lambda image: to_pil(image).convert("RGBA")))
    assert torch.equal(data.source.batch([3]), PIXELS[3:4])


def test_training_sees_dataset_and_scoring_sees_plain():
    data = from_dataset(Toy(add_noise), plain=Toy(as_float))
    assert torch.equal(data.plain([1, 3]), PIXELS[[1, 3]].float())
    noise = data.augmented([1, 3], torch.Generator().manual_seed(0)) - PIXELS[[1, 3]]
    assert noise.min() > 0
    assert noise[0].mean() != pytest.approx(noise[1].mean().item(), abs=1e-3)


def test_augmentation_depends_on_the_generator_alone_and_touches_no_global_state():
    data = from_dataset(Toy(add_noise), plain=Toy(as_float))
    torch.manual_seed(0)
    first = data.augmented([0, 5], torch.Generator().manual_seed(7))
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = global_states()
    assert torch.equal(first, data.augmented([0, 5], torch.Generator().manual_seed(7)))
    assert not torch.equal(first, data.augmented([0, 5], torch.Generator().manual_seed(8)))
    from_dataset(Toy(add_noise), plain=Toy(as_float))
    data.plain([0])
    assert global_states() == before


class Batches(Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return self.data.augmented([index, index + 1], torch.Generator().manual_seed(index))


def test_workers_make_no_difference():
    data = from_dataset(Toy(add_noise), plain=Toy(as_float))
    alone, shared = (torch.stack(list(DataLoader(Batches(data), None, num_workers=n))) for n in (0, 2))
    assert torch.equal(alone, shared)


def test_torchvision_transforms_are_under_the_generator():
    transform = v2.Compose([v2.RandomCrop((4, 5), padding=1), v2.RandomHorizontalFlip(), v2.ColorJitter(0.5)])
    data = from_dataset(Toy(transform), plain=Toy())
    once, again = (data.augmented([0] * 20, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(once, again)
    assert len(once.flatten(1).unique(dim=0)) > 10


@pytest.mark.parametrize("argument", ["dataset", "plain"])
@pytest.mark.parametrize(
    "change", [add_noise, v2.RandomHorizontalFlip(), v2.RandomCrop((4, 5), padding=1)], ids=["noise", "flip", "crop"]
)
def test_random_transforms_while_scoring_are_refused(argument, change):
    pixels = torch.randint(256, (40, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    trap = Toy(change, [0] * 40, pixels)
    views = {"dataset": trap} if argument == "dataset" else {"dataset": Toy(as_float, [0] * 40, pixels), "plain": trap}
    with pytest.raises(DalError) as error:
        from_dataset(**views)
    assert str(error.value).startswith(f"{argument}: expected the same image each time point ")
    assert str(error.value).endswith("Pass plain=, the same points without random transforms, for scoring.")


def test_an_image_with_nan_still_equals_itself_and_is_named():
    expected = r"^dataset: an image with pixels that are NaN or infinite: dataset\[0\]\.$"
    with pytest.warns(UserWarning, match=expected):
        from_dataset(Toy(lambda image: image.float() / 0))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_in_memory_that_are_not_finite_are_named_at_once(value):
    images = torch.zeros(50, 1, 2, 2)
    images[[3, 41], 0, 1, 1] = value
    labels = torch.arange(50) % 2
    with pytest.warns(UserWarning, match=r"^dataset: 2 images with pixels .*: dataset\[3\], dataset\[41\]\.$") as given:
        from_dataset(TensorDataset(images, labels), num_classes=2)
    assert len(given) == 1
    with pytest.warns(UserWarning, match=r": dataset\[1\]\.$"):
        from_dataset(Subset(TensorDataset(images, labels), [5, 41]), num_classes=2)


def test_an_image_that_is_not_finite_is_named_when_it_is_first_read():
    images = torch.zeros(100, 1, 2, 2)
    images[2, 0, 0, 0] = float("nan")
    data = from_dataset(list(images), num_classes=2, labels=[0, 1] * 50)
    with pytest.warns(UserWarning, match=r": dataset\[2\]\.$") as given:
        data.plain([0, 2])
        data.plain([2])
    assert len(given) == 1


def test_subset_keeps_ids_labels_and_classes():
    data = from_dataset(Subset(Toy(add_noise), [5, 1]), plain=Subset(Toy(as_float), [5, 1]))
    assert (list(data.ids), data.labels.tolist(), list(data.classes)) == (["000005", "000001"], [2, 1], ["a", "b", "c"])
    assert torch.equal(data.plain([0]), PIXELS[5:6].float())


def test_tensor_dataset_and_images_without_labels():
    data = from_dataset(TensorDataset(PIXELS, torch.tensor(LABELS)), num_classes=3)
    assert (data.labels.tolist(), list(data.classes)) == (LABELS, ["0", "1", "2"])
    bare = from_dataset(
        list(PIXELS), classes=["x", "y"], labels=[0, None, 1, -1, None, 0], ids=list("uvwxyz"), name="bare"
    )
    assert (bare.labels.tolist(), list(bare.ids), bare.name) == ([0, -1, 1, -1, -1, 0], list("uvwxyz"), "bare")
    assert torch.equal(bare.source.batch([4]), PIXELS[4:5])


def test_torchvision_datasets(tmp_path):
    for name in ("cat/1.png", "dog/2.png"):
        (tmp_path / name).parent.mkdir()
        to_pil(PIXELS[int(name[4])]).save(tmp_path / name)
    data = from_dataset(ImageFolder(tmp_path))
    assert (list(data.ids), data.labels.tolist(), list(data.classes)) == (
        ["cat/1.png", "dog/2.png"],
        [0, 1],
        ["cat", "dog"],
    )
    assert torch.equal(data.source.batch([1]), PIXELS[2:3])
    fake = FakeData(4, (3, 8, 8), num_classes=3)
    assert from_dataset(fake, num_classes=3).labels.tolist() == [int(fake[i][1]) for i in range(4)]


def test_the_result_can_be_sent_to_another_process():
    data = pickle.loads(pickle.dumps(from_dataset(Toy(add_noise), plain=Toy(as_float))))
    assert torch.equal(data.plain([1]), PIXELS[1:2].float())


def test_numpy_indices_and_tensors_serve():
    data = from_dataset(Toy())
    assert torch.equal(data.source.batch(np.array([2, 0])), PIXELS[[2, 0]])
    assert torch.equal(data.source.batch(torch.tensor([2, 0])), PIXELS[[2, 0]])


class Endless(IterableDataset):
    def __iter__(self):
        return iter(PIXELS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: from_dataset(Endless(), num_classes=2), "dataset: expected a dataset with a length and positions"),
        (lambda: from_dataset([], num_classes=2), "dataset: expected at least one image, got an empty dataset."),
        (
            lambda: from_dataset(Toy(), plain=Subset(Toy(), [0, 1])),
            "plain: expected the same 6 points as dataset, got 2 points.",
        ),
        (
            lambda: from_dataset(Toy(add_noise), plain=Toy()),
            "plain: expected float32 (3, 4, 5) for point 0 as in dataset, got 'uint8 (3, 4, 5)'.",
        ),
        (
            lambda: from_dataset(Toy(add_noise), plain=Subset(Toy(as_float), [1, 0, 2, 3, 4, 5])),
            "plain: expected label 0 for point 0 as in dataset, got 1.",
        ),
        (lambda: from_dataset(list(PIXELS), labels=LABELS), "classes: expected the class names or their number"),
        (
            lambda: from_dataset(Toy(), num_classes=2),
            "num_classes: expected 3, the number of class names, got 2.",
        ),
        (
            lambda: from_dataset(Toy(), classes=["a", "b"]),
            "labels: expected class numbers from 0 to 1, -1 for unknown, or -2 for none of them",
        ),
        (lambda: from_dataset(Toy(), ids=["x"]), "ids: expected one for each of the 6 images, got 1."),
        (lambda: from_dataset(Subset(Toy(), [0, 0])), "ids: expected each id once, got '000000'."),
        (
            lambda: from_dataset(Toy(lambda image: image.numpy())),
            "dataset[0]: expected a NumPy image (H, W, C), got an array (3, 4, 5).",
        ),
        (
            lambda: from_dataset(Toy(lambda image: image.long())),
            "dataset[0]: expected an image (C, H, W), uint8 or floating point, got 'int64 (3, 4, 5)'.",
        ),
        (
            lambda: from_dataset(Toy(lambda image: "path.png")),
            "dataset[0]: expected a tensor, a PIL image or a NumPy array, got 'str'.",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(DalError) as error:
        make()
    assert str(error.value).startswith(message)


def test_images_of_different_sizes_are_named():
    sizes = [torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(3, 4, 6, dtype=torch.uint8)]
    data = from_dataset(sizes, labels=[0, 1], num_classes=2)
    with pytest.raises(DalError) as error:
        data.plain([0, 1])
    assert str(error.value) == (
        "dataset: expected one shape and dtype, uint8 (3, 4, 4) as in image 0, got uint8 (3, 4, 6) of image 1."
    )


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["cat", "cat"], "each class name once, got 'cat' twice"),
        (["", ""], "class names that are not empty, got ''"),
        (["cat", "\u200b"], "class names that are not empty"),
        (["cat", "cat "], "class names that look different"),
        ("ab", "a list of class names, got 'ab'"),
    ],
)
def test_given_classes_are_told_apart(classes, message):
    dataset = TensorDataset(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    with pytest.raises(DalError, match=f"^classes: expected {message}"):
        from_dataset(dataset, classes=classes)
    assert from_dataset(dataset, classes=["cat", "Cat"]).classes == ["cat", "Cat"]


@pytest.mark.parametrize("shape", [(32, 32, 3), (8, 10, 4), (28, 28, 1)])
def test_a_tensor_with_channels_last_is_refused(shape):
    items = TensorDataset(torch.zeros(4, *shape), torch.tensor([0, 1, 0, 1]))
    with pytest.raises(DalError) as error:
        from_dataset(items, num_classes=2)
    expected = "dataset[0]: expected a tensor (C, H, W), as image.permute(2, 0, 1) gives for (H, W, C), got float32 "
    assert str(error.value) == f"{expected}{shape}."


@pytest.mark.parametrize("shape", [(3, 8, 8), (13, 8, 8), (4, 8, 3), (64, 1, 1), (12, 100, 1)])
def test_a_tensor_with_channels_first_is_read(shape):
    items = TensorDataset(torch.zeros(4, *shape), torch.tensor([0, 1, 0, 1]))
    assert from_dataset(items, num_classes=2).plain([0]).shape == (1, *shape)


def test_items_with_several_frames_are_named_once(tmp_path):
    pages = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    pages[0].save(tmp_path / "two.tiff", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "one.tiff")

    def of(names):
        return FunctionDataset([(lambda name=name: Image.open(tmp_path / name)) for name in names])

    with pytest.warns(UserWarning) as caught:
        data = from_dataset(of(["one.tiff", "two.tiff", "one.tiff"]), num_classes=2)
        assert torch.equal(data.source.batch([0]), data.source.batch([1]))
    assert [str(one.message) for one in caught if one.category is UserWarning] == [
        "1 of 3 images that are checked has several frames or pages, of which only the first is used: image 1."
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        data = from_dataset(of(["one.tiff"] * 2 + ["two.tiff"] + ["one.tiff"] * 200), num_classes=2)
    with pytest.warns(UserWarning, match=r"^1 of 2 images that are read has several frames .*: image 2\.$"):
        data.source.batch([1, 2])


class FunctionDataset:
    """Makes each image when it is asked for."""

    def __init__(self, makers):
        self.makers, self.targets = makers, [0] * len(makers)

    def __len__(self):
        return len(self.makers)

    def __getitem__(self, index):
        return self.makers[index](), 0


def test_a_label_beyond_64_bits_is_one_sentence():
    with pytest.raises(DalError, match=r"^labels: expected a class number, .* of point 5, got 1000"):
        from_dataset(list(PIXELS), num_classes=2, labels=[0, 1, 0, 1, 0, 10**30])
