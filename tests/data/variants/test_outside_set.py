"""Images of another data set in the pool."""

from dataclasses import replace

import pytest
import torch

from dal.config.overrides import compose
from dal.config.schema import build
from dal.data import load
from dal.data.images import ImageSplits, TensorSource
from dal.data.sets import registry
from dal.data.sets.digits import Digits
from dal.data.sets.registry import outside_set
from dal.data.variants.out_of_distribution import JoinedSource, add_out_of_distribution
from dal.errors import DalError
from dal.tasks.base import OUT_OF_CLASS


class Other(Digits):
    def read(self):
        train, test = super().read()
        return ImageSplits(replace(train, name="other"), test)


@pytest.fixture(autouse=True)
def other(monkeypatch):
    known = registry.registry() | {"other": Other}
    monkeypatch.setattr(registry, "registry", lambda: known)


def colors(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_own_images_stay_and_the_others_are_made_alike():
    own, other = colors(3, 1, 8, 8), colors(2, 3, 4, 4)
    joined = JoinedSource(TensorSource(own), TensorSource(other))
    assert len(joined) == 5
    images = joined.batch([4, 0, 3, 2])
    assert images.dtype == torch.uint8 and images.shape == (4, 1, 8, 8)
    assert torch.equal(images[[1, 3]], own[[0, 2]])
    gray = other.double().mean(dim=1, keepdim=True)
    expected = torch.nn.functional.interpolate(gray, (8, 8), mode="bilinear", antialias=True)
    assert (images[[2, 0]].double() - expected).abs().max() <= 0.5 + 1e-4


def test_gray_becomes_color_and_a_size_that_fits_is_not_touched():
    own, other = colors(1, 3, 8, 8), colors(2, 1, 8, 8)
    images = JoinedSource(TensorSource(own), TensorSource(other)).batch([2, 1])
    assert torch.equal(images, other[[1, 0]].expand(-1, 3, -1, -1))


def test_a_batch_of_one_kind_alone():
    joined = JoinedSource(TensorSource(colors(2, 1, 8, 8)), TensorSource(colors(2, 1, 8, 8)))
    assert len(joined.batch([0, 1])) == len(joined.batch([2, 3])) == 2 and len(joined.batch([])) == 0


def test_by_configuration():
    """The first come as they would alone, so that runs with and without are told apart by nothing else."""
    overrides = ["experiment=digits", "data.outside_from=other", "data.outside_size=30", "data.max_train=50"]
    train, test = load(build(compose(overrides)).data)
    alone = load(Digits(max_train=50))
    assert len(train) == 80 and train.classes == alone.train.classes
    assert train.ids[:50] == alone.train.ids and torch.equal(train.labels[:50], alone.train.labels)
    assert train.labels[50:].tolist() == [OUT_OF_CLASS] * 30 and all(
        name.startswith("other:digit-") for name in train.ids[50:]
    )
    assert torch.equal(train.plain(range(50)), alone.train.plain(range(50)))
    assert test.ids == alone.test.ids
    smaller = load(Digits(outside_from="other", outside_size=10)).train
    assert set(smaller.ids[1297:]) < set(train.ids[50:])


def test_both_kinds_of_outside():
    train = load(Digits(outside_classes=4, outside_from="other")).train
    assert train.num_classes == 6 and int((train.labels[:1297] == OUT_OF_CLASS).sum()) > 400
    assert bool((train.labels[1297:] == OUT_OF_CLASS).all())


def test_what_may_be_downloaded_may_be_for_both():
    assert outside_set("cifar100", download=True).download and not outside_set("cifar100").download
    assert not hasattr(outside_set("digits", download=True), "download")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outside_from": "digit"}, r"data\.outside_from: expected one of .*, got 'digit' \(did you mean digits\?\)"),
        ({"outside_from": "image_folder"}, r"data\.outside_from: expected one of cifar10, .*got 'image_folder'"),
        ({"outside_from": "digits"}, r"data\.outside_from: expected a data set other than data, got 'digits'"),
        ({"outside_size": 5}, r"data\.outside_size: expected null without data\.outside_from, got 5"),
        (
            {"outside_from": "other", "outside_size": 0},
            r"data\.outside_size: expected at least 1, or null, got 0",
        ),
    ],
)
def test_refused_in_one_sentence(options, message):
    with pytest.raises(DalError, match=f"^{message}"):
        load(Digits(**options))


def test_pixels_that_are_normalized_already_are_refused(data):
    class Floats:
        def __len__(self):
            return len(data)

        def batch(self, indices):
            return torch.zeros(len(indices), 1, 8, 8)

    floats = replace(data, source=Floats())
    with pytest.raises(
        DalError, match=r"^other \(data\.outside_from\): expected images of uint8 pixels, got torch.float32"
    ):
        add_out_of_distribution(data, floats)
    with pytest.raises(DalError, match=r"^data: expected images of uint8 pixels, got torch.float32"):
        add_out_of_distribution(floats, data)
