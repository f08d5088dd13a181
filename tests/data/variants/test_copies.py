"""A redundant pool: the same images again, with noise of a known size, the same each time it is read."""

import numpy as np
import pytest
import torch

from dal.data import load
from dal.data.images import ImageData, TensorSource
from dal.data.sets.digits import Digits
from dal.data.variants.copies import NoisyCopies, noisy_copies
from dal.errors import DalError


def data(source=None, **changes):
    g = torch.Generator().manual_seed(0)
    images = torch.randint(60, 190, (20, 3, 16, 16), generator=g).to(torch.uint8)
    settings = {"mean": [0.5, 0.4, 0.3], "std": [0.1, 0.2, 0.3], "ids": [f"image-{i}" for i in range(20)]}
    settings |= changes
    return ImageData(
        "toy", source or TensorSource(images), labels=torch.arange(20) % 3 - 1, classes=["a", "b"], **settings
    )


class Lazy:
    """A source that is not in memory."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def batch(self, indices):
        return self.images[torch.as_tensor(indices, dtype=torch.int64)]


def test_copies_have_ids_labels_and_noise_of_the_size_asked_for():
    whole = data()
    thrice = noisy_copies(whole, 3, noise=0.25)
    assert len(thrice) == 60 and thrice.labels.tolist() == whole.labels.tolist() * 3
    assert list(thrice.ids[18:23]) == ["image-18", "image-19", "image-0#1", "image-1#1", "image-2#1"]
    assert thrice.ids[-1] == "image-19#2"
    plain = thrice.plain(range(60)).double().numpy().reshape(3, 20, 3, 256)
    assert np.array_equal(plain[0], whole.plain(range(20)).double().numpy().reshape(20, 3, 256))
    for copy in (1, 2):
        noise = plain[copy] - plain[0]
        # Per channel, of 5,120 numbers: the size in normalized units, and the rounding to gray levels.
        expected = np.sqrt(0.25**2 + 1 / 12 / (255 * np.array([0.1, 0.2, 0.3])) ** 2)
        assert noise.std(axis=(0, 2)) == pytest.approx(expected, rel=0.05)
        assert abs(noise.mean()) < 0.01
    assert abs(np.corrcoef((plain[1] - plain[0]).ravel(), (plain[2] - plain[0]).ravel())[0, 1]) < 0.03
    assert thrice.fingerprint() != whole.fingerprint() != noisy_copies(whole, 2, 0.25).fingerprint()


def test_noise_depends_on_the_id_alone():
    images = data().source.images
    eager = noisy_copies(data(), 2, 0.5)
    lazy = noisy_copies(data(Lazy(images)), 2, 0.5)
    assert isinstance(lazy.source, NoisyCopies) and isinstance(eager.source, TensorSource)
    everything = eager.plain(range(40))
    assert torch.equal(lazy.plain(range(40)), everything)
    assert torch.equal(lazy.plain([39, 3, 25]), everything[[39, 3, 25]])
    turned = noisy_copies(data(Lazy(images.flip(0)), ids=[f"image-{19 - i}" for i in range(20)]), 2, 0.5)
    assert torch.equal(turned.plain(range(39, 19, -1)), everything[20:])
    assert torch.equal(noisy_copies(data(), 3, 0.5).plain(range(40)), everything), "more copies leave the others alone"
    assert torch.equal(images, data().source.images), "the images themselves are as they were"


def test_gray_levels_stay_gray_levels():
    black = ImageData(
        "toy", TensorSource(torch.zeros(2, 1, 32, 32, dtype=torch.uint8)), ["a", "b"], torch.tensor([0, 1]), ["a", "b"],
        mean=[0.0], std=[1.0],
    )  # fmt: skip
    noisy = noisy_copies(black, 2, noise=1.0).source.batch([2])
    assert noisy.dtype == torch.uint8 and (noisy == 0).float().mean() == pytest.approx(0.5, abs=0.06)
    assert noisy.max() == 255


def test_images_that_are_normalized_already_get_the_same_noise():
    floats = torch.zeros(2, 1, 64, 64)
    source = ImageData("toy", Lazy(floats), ["a", "b"], torch.tensor([0, 1]), ["a", "b"])
    noisy = noisy_copies(source, 2, noise=0.3)
    assert noisy.plain([2, 3]).std() == pytest.approx(0.3, rel=0.05) and not noisy.plain([0, 1]).any()


def test_it_is_a_setting_of_every_data_set():
    train, test = load(Digits(copies=3, max_train=50, copy_noise=0.2))
    assert len(train) == 150 and len(test) == 500
    assert train.ids[50] == f"{train.ids[0]}#1" and bool((train.plain([50]) != train.plain([0])).any())
    assert (train.plain([50]) - train.plain([0])).abs().max() < 6 * 0.2


@pytest.mark.parametrize(
    "copies,noise,message",
    [
        (0, 0.1, r"copies \(data.copies\): expected at least 1, got 0"),
        (2, -1.0, r"noise \(data.copy_noise\): expected a number from 0, got -1.0"),
        (2, float("nan"), r"noise \(data.copy_noise\): expected a number from 0, got nan"),
    ],
)
def test_what_cannot_be(copies, noise, message):
    with pytest.raises(DalError, match=message):
        noisy_copies(data(), copies, noise)


def test_transforms_of_ones_own_are_refused():
    source = data().source

    class Transforms(Lazy):
        def augmented_batch(self, indices, generator):
            return self.batch(indices)

    with pytest.raises(DalError, match="expected images without random transforms, got 'toy'"):
        noisy_copies(data(augmented_source=Transforms(source.images)), 2, 0.1)
