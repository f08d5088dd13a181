"""Small LightningModules of users, and a learner that trains them round by round."""

import pytorch_lightning as pl
import torch
from torch import nn

from dal import ActiveLearner, adapt
from dal.acquisition import Random
from dal.training import TrainingConfig
from helpers.toys import toy_data


def user_module(package=pl):
    """A class with a body and a head, of either package of Lightning."""

    class Mine(package.LightningModule):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU())
            self.head = nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.body(x))

        def training_step(self, batch, batch_idx):
            loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.05)

    return Mine


Mine = user_module()


class Validated(Mine):
    """Logs a validation loss that gets worse."""

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", torch.tensor(float(self.trainer.global_step)))


def settings(**changes):
    """Six updates of eight images."""
    six = {"batch_size": 8, "min_updates": 0, "max_updates": 6, "check_every": 2, "monitor": "none"}
    return TrainingConfig(**(six | changes))


def learner_of(module, *, data=None, training=None, acquisition=None, head="head", num_labels=20, **trainer):
    """A learner on 20 labels of 90 images, seeds fixed."""
    data = data or toy_data()
    if isinstance(module, type):
        torch.manual_seed(0)
        module = module()
    learner = ActiveLearner(
        adapt(module, head),
        data,
        acquisition or Random(),
        training=training or settings(),
        trainer={"accelerator": "cpu"} | trainer,
        seed=1,
    )
    if num_labels:
        learner.tell(range(num_labels), data.labels[:num_labels].tolist())
    return learner


def rounds(learner, count):
    """Fit this many rounds of ten more labels each, and return their results."""
    results = [learner.fit()]
    for _ in range(count - 1):
        query = learner.ask(10)
        learner.tell(query, learner.data.labels[list(query)].tolist())
        results.append(learner.fit())
    return results
