"""Networks of other libraries in a LightningModule of a user: two rounds of a campaign of regions."""

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from helpers.toy_masks import mask_learner, quick, toy_mask_data, toy_scenes
from torch import nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3
from torchvision.models.segmentation.fcn import FCNHead
from torchvision.models.segmentation.lraspp import LRASPP

from dal import adapt, run
from dal.acquisition import BALD, CoreSet, Entropy
from dal.data import TensorSource
from dal.data.masks import TensorMasks
from dal.errors import DalError
from dal.labeling.oracle import DatasetOracle
from dal.stopping import CampaignConfig


class Backbone(nn.Module):
    """A small backbone with outputs of the names that torchvision's networks read."""

    def __init__(self, first, last):
        super().__init__()
        self.names = first, last
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(4, 8, 3, 2, padding=1), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, x):
        early = self.stem(x)
        return dict(zip(self.names, (early, self.deep(early)), strict=True))


class Theirs(pl.LightningModule):
    """Steps, logs and a scheduler as people write them, with an auxiliary loss."""

    def __init__(self, net):
        super().__init__()
        self.save_hyperparameters(ignore="net")
        self.net = net

    def forward(self, x):
        return self.net(x)

    def step(self, batch, stage):
        images, masks = batch
        out = self.net(images)
        out = out if isinstance(out, dict) else {"out": out}
        loss = F.cross_entropy(out["out"], masks, ignore_index=255)
        if "aux" in out:
            loss = loss + 0.4 * F.cross_entropy(out["aux"], masks, ignore_index=255)
        self.log(f"{stage}_loss", loss)
        return loss

    def training_step(self, batch, batch_idx):
        return self.step(batch, "train")

    def validation_step(self, batch, batch_idx):
        self.step(batch, "val")

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.PolynomialLR(optimizer, 10)}


def deeplab():
    return DeepLabV3(Backbone("aux", "out"), DeepLabHead(8, 3, atrous_rates=(2,)), FCNHead(4, 3))


def lraspp():
    return LRASPP(Backbone("low", "high"), 4, 8, num_classes=3, inter_channels=8)


def unet():
    smp = pytest.importorskip("segmentation_models_pytorch", reason="needs segmentation-models-pytorch")
    return smp.Unet("resnet18", encoder_weights=None, encoder_depth=3, decoder_channels=(8, 8, 8), classes=3)


def of_unet(module, x):
    decoded = module.net.decoder(module.net.encoder(x))
    return module.net.segmentation_head(decoded), decoded


def scenes(count, seed=0, region_size=None):
    images, masks = toy_scenes(count, seed, size=32)
    source = TensorSource(images.expand(-1, 3, -1, -1).contiguous())
    return toy_mask_data(count, seed, 32, source=source, masks=TensorMasks(masks), region_size=region_size)


def learner(net, head, function, **options):
    model = adapt(Theirs(net()), head, task="segmentation", **options)
    return mask_learner(function, scenes(8, region_size=16), model, training=quick(batch_size=4, max_updates=2))


@pytest.mark.parametrize("function", [Entropy(), CoreSet()])
@pytest.mark.parametrize(
    ("net", "head", "options"),
    [
        (deeplab, "net.classifier.4", {}),
        (unet, None, {"predict": of_unet}),
        (lraspp, ".", {}),
    ],
    ids=["deeplab", "smp unet", "lraspp whole"],
)
def test_two_rounds_of_regions(net, head, options, function):
    if head == "." and function.name == "coreset":
        with pytest.raises(DalError, match=r'^model: expected the name of a 1x1 convolution .*, got head="\."\.'):
            learner(net, head, function, **options)
        return
    made = learner(net, head, function, **options)
    config = CampaignConfig(initial_size=4, query_size=3, budget=7, stop_set_size=0)
    rows = run(made, DatasetOracle(made.data), config, test=scenes(3, seed=9))
    assert [row["labels_bought"] for row in rows] == [4, 7] and len(set(made.pool.labeled.tolist())) == 7
    assert all(0 <= row["test_miou"] <= 1 and row["cost_clicks"] > 0 for row in rows)


def test_dropout_is_drawn_in_deeplab_and_missed_elsewhere():
    assert len(learner(deeplab, "net.classifier.4", BALD(3)).model.head_layer.weight) == 3
    with pytest.raises(DalError, match=r"^model: expected a dropout layer for MC dropout"):
        learner(lraspp, ".", BALD(3))
