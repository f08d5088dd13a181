"""Modules as people write them, for images (1, 8, 8)."""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset

from dal import ActiveLearner
from dal.data import from_dataset
from dal.scoring.config import ScoringConfig
from dal.training import TrainingConfig


class OwnModule(pl.LightningModule):
    """A network, trained on (x, y)."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class DictModule(OwnModule):
    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch["image"]), batch["label"])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self(batch["image"]), batch["label"]))


def dense(*last):
    """Flat images through a layer to ``last``, or to three classes."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), *(last or (nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))))


def noise_data(num_classes=3, count=40, shape=(1, 8, 8)):
    g = torch.Generator().manual_seed(0)
    images, labels = torch.randn(count, *shape, generator=g), torch.arange(count) % num_classes
    return from_dataset(TensorDataset(images, labels), num_classes=num_classes)


def learner_of(model, function, data=None, tile_size=8):
    training = TrainingConfig(max_updates=2, min_updates=1, check_every=1, batch_size=8)
    scoring, data = ScoringConfig(tile_size=tile_size), data or noise_data()
    return ActiveLearner(model, data, function, training=training, scoring=scoring, trainer={"accelerator": "cpu"})


def two_rounds(learner):
    """Ask, tell and fit twice; return the third query."""
    for _ in range(2):
        query = learner.ask(6)
        learner.tell(query, [int(learner.data.labels[i]) for i in query])
        learner.fit()
    return learner.ask(6)
