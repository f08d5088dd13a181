"""Small images with masks, and a fully convolutional module that learns them."""

import pytorch_lightning as pl
import torch
from torch import nn

from dal import ActiveLearner
from dal.acquisition import Random
from dal.data import ImageData, TensorSource
from dal.data.masks import TensorMasks
from dal.models.adapt import adapt
from dal.tasks import SEGMENTATION
from dal.training import TrainingConfig

CLASSES = ("ground", "square", "bar")


def toy_scenes(count, seed=0, size=8):
    """(count, 1, size, size) noise with a bright square and a brighter bar, and their masks."""
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 60, (count, 1, size, size), generator=g)
    masks = torch.zeros(count, size, size, dtype=torch.uint8)
    for image, mask, (y, x, row) in zip(
        images, masks, torch.randint(0, size - 3, (count, 3), generator=g).tolist(), strict=True
    ):
        image[0, y : y + 3, x : x + 3] += 100
        mask[y : y + 3, x : x + 3] = 1
        image[0, row] += 60
        image[0, row].clamp_(150)
        mask[row] = 2
    return images.clamp(max=255).to(torch.uint8), masks


def toy_mask_data(count=24, seed=0, size=8, region_size=None, **changes):
    images, masks = toy_scenes(count, seed, size)
    given = {"source": TensorSource(images), "masks": TensorMasks(masks), "region_size": region_size}
    given |= {"labels": torch.zeros(count, dtype=torch.int64), "classes": CLASSES}
    ids = [f"scene-{i:02d}" for i in range(count)]
    return ImageData(
        "scenes",
        ids=ids,
        mean=[0.3],
        std=[0.25],
        task=SEGMENTATION,
        **(given | changes),
    )


class TinyNet(pl.LightningModule):
    """Two convolutions, dropout and a 1x1 head; with a stride, the grid is smaller than the image."""

    def __init__(self, stride=1, dropout=0.3, kernel=3):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, kernel, stride=stride, padding=kernel // 2), nn.ReLU(), nn.Dropout(dropout)
        )
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        return self.head(self.body(x))

    def training_step(self, batch, batch_idx):
        return SEGMENTATION.loss(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.02)


def tiny_model(**options):
    return adapt(TinyNet(**options), "head", task="segmentation")


def quick(**changes):
    return TrainingConfig(**({"batch_size": 8, "min_updates": 1, "max_updates": 6, "check_every": 3} | changes))


def mask_learner(acquisition=None, data=None, model=tiny_model, **options):
    """A learner on toy scenes on the CPU, with a new network for each round."""
    options = {"training": quick(), "trainer": {"accelerator": "cpu"}, "seed": 1} | options
    return ActiveLearner(model, data or toy_mask_data(region_size=4), acquisition or Random(), **options)


def draws_one_by_one(view, x, num_draws):
    """The (B, K, C, ...) log-probabilities of draws that share nothing."""
    groups = view.draws(x, num_draws, are_wide=False).groups(x)
    return torch.stack([group[:, 0].log_softmax(dim=1) for group in groups], dim=1)
