"""A module that takes uint8 images learns that dal normalizes them."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from helpers.own_modules import OwnModule, dense, learner_of
from torch import nn
from torch.utils.data import TensorDataset
from torchvision.transforms import v2

from dal.acquisition import Margin
from dal.data import from_dataset
from dal.models import adapt
from dal.models.backbones import SmallCNN
from dal.models.classifier import Classifier

PIXELS = torch.arange(6 * 64).remainder(256).to(torch.uint8).view(6, 1, 8, 8)


class Divides(OwnModule):
    def forward(self, x):
        self.seen = x
        return self.net(x.float() / 255)


class InHook(OwnModule):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        return (batch[0].float() / 255 - 0.3) / 0.3, batch[1]


class InStep(OwnModule):
    def training_step(self, batch, batch_idx):
        loss = F.cross_entropy(self(batch[0].float() / 255), batch[1])
        self.log("loss", loss)
        return loss


class ByDtype(OwnModule):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        return v2.ToDtype(torch.float32, scale=True)(batch[0]), batch[1]


class Either(OwnModule):
    """Knows what dal gives it."""

    def forward(self, x):
        return self.net((x / 255 - 0.5) / 0.5 if x.dtype == torch.uint8 else x)


def said(module, images=PIXELS, **statistics):
    data = from_dataset(TensorDataset(images, torch.arange(6) % 3), num_classes=3, **statistics)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        learner_of(module, Margin(), data)
    return [str(warning.message) for warning in seen if "uint8" in str(warning.message)]


@pytest.mark.parametrize("kind", [Divides, InHook, InStep, ByDtype])
def test_a_module_that_normalizes_is_named_with_the_remedy(kind):
    remedy = {"mean": [0.0], "std": [1.0 if kind is ByDtype else 1 / 255]}
    text = "mean=[0.0], std=[1.0]" if kind is ByDtype else "mean=[0.0], std=[1 / 255]"
    assert said(adapt(kind(dense()), "net.4")) == [
        f"model: {kind.__name__} takes uint8 images, but gets float32 images from -1 to 1, because from_dataset() "
        f"normalizes. If the module normalizes images itself, pass {text} (its outputs are then those for uint8) to "
        "from_dataset(), for the training and the test set. Otherwise, pass mean=[0.5], std=[0.5] for the same images "
        "without this warning."
    ]
    assert said(adapt(kind(dense()), "net.4"), **remedy) == []


def test_the_remedy_gives_a_module_the_pixels_of_the_dataset():
    module = Divides(dense())
    said(adapt(module, "net.4"), mean=[0.0], std=[1 / 255])
    assert module.seen.dtype == torch.float32
    torch.testing.assert_close(module.seen, PIXELS[:3].float())
    said(adapt(module, "net.4"), mean=[0.5])
    torch.testing.assert_close(module.seen, (PIXELS[:3] / 255 - 0.5) / 0.5)


def test_others_are_not_warned():
    assert said(adapt(OwnModule(dense()), "net.4")) == []
    assert said(adapt(Either(dense()), "net.4")) == []
    assert said(adapt(Divides(dense()), "net.4"), images=PIXELS / 255) == []
    for chosen in ({"mean": [0.5]}, {"std": [0.5]}):
        assert said(adapt(Divides(dense()), "net.4"), **chosen) == []
    assert said(Classifier(SmallCNN(1, (8, 8)), 3)) == []


def test_a_head_of_zeros_hides_nothing():
    module = Divides(dense())
    nn.init.zeros_(module.net[4].weight)
    assert len(said(adapt(module, "net.4"))) == 1
