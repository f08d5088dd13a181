"""Segmentation of images of one pixel is classification, bit for bit."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from dal import ActiveLearner, run
from dal.acquisition.registry import registry
from dal.data import ImageData, TensorSource
from dal.data.masks import TensorMasks
from dal.labeling.oracle import DatasetOracle
from dal.models.adapt import AdaptedModel
from dal.stopping import CampaignConfig
from dal.tasks import CLASSIFICATION, SEGMENTATION
from dal.training import TrainingConfig

CLASSES = ["red", "green", "blue"]


class Pixel(pl.LightningModule):
    """Two convolutions of one pixel."""

    def __init__(self, task):
        super().__init__()
        self.body, self.task = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Dropout(0.4)), task
        self.head = nn.Conv2d(6, 3, 1)

    def forward(self, x):
        return self.head(self.body(x))

    def training_step(self, batch, batch_idx):
        logits, targets = self(batch[0]), batch[1]
        if not self.task.is_dense:
            targets = targets[:, None, None]
        return SEGMENTATION.loss(logits, targets)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def pixels(count, task, seed=0):
    g = torch.Generator().manual_seed(seed)
    colors = torch.randint(0, 256, (count, 3, 1, 1), generator=g, dtype=torch.uint8)
    labels = colors.int().flatten(1).argmax(dim=1)
    ids = [f"pixel-{i:02d}" for i in range(count)]
    given = {"labels": labels}
    if task.is_dense:
        masks = TensorMasks(labels.to(torch.uint8)[:, None, None])
        given = {"labels": torch.zeros(count, dtype=torch.int64), "masks": masks}
    return ImageData("pixels", TensorSource(colors), ids, classes=CLASSES, mean=[0.5], std=[0.3], task=task, **given)


def learner_of(task, acquisition):
    training = TrainingConfig(batch_size=8, min_updates=1, max_updates=6, check_every=3)
    torch.manual_seed(0)
    model, trainer = AdaptedModel(Pixel(task), "head", task=task.name), {"accelerator": "cpu"}
    return ActiveLearner(model, pixels(60, task), acquisition, training=training, trainer=trainer)


def function_of(name):
    kind = registry()[name]
    return kind(**({"num_draws": 3} if "num_draws" in kind.__dataclass_fields__ else {}))


POOLED = ["entropy", "margin", "least_confidence", "egl", "bald", "mean_std", "variation_ratios", "stochastic"]


ONE_PIXEL = ["badge", "bait", "batchbald", "dropquery"]


@pytest.mark.parametrize(
    "name", [*POOLED, "power_bald", "coreset", "kmeans", "typiclust", "cluster_margin", "probcover", *ONE_PIXEL]
)
def test_the_query_of_images_of_one_pixel_is_that_of_classification(name):
    queries = []
    for task in (SEGMENTATION, CLASSIFICATION):
        learner = learner_of(task, function_of(name))
        learner.tell(range(6), DatasetOracle(learner.data)(range(6)))
        learner._fitted_round = 0  # with its first weights
        queries.append(learner.ask(9))
    assert queries[0] == queries[1]


def comparable(rows):
    """The entries of rows that both tasks have, without times, under the names of segmentation.

    Classification counts the head of a function that reads logits twice.
    """
    starts = (
        "samples",
        "flops",
        "stop_",
        "num_",
        "labels",
        "updates",
        "best_update",
        "warm",
        "round",
        "training_stopped",
    )
    kept = []
    for row in rows:
        entries = {"test_pixel_accuracy": row.get("test_accuracy"), **row}
        entries["training_history"] = [(check["update"], check["loss"]) for check in row["training_history"]]
        names = ["test_pixel_accuracy", "test_loss", "test_confusion_matrix", "val_loss", "training_history"]
        kept.append({key: entries[key] for key in [*names, *(key for key in row if key.startswith(starts))]})
    return kept


def test_a_campaign_on_images_of_one_pixel_is_that_of_classification():
    config = CampaignConfig(initial_size=6, query_size=6, budget=18, validation_size=6, stop_set_size=20)
    found = []
    for task in (SEGMENTATION, CLASSIFICATION):
        learner = learner_of(task, function_of("bald"))
        rows = run(learner, DatasetOracle(learner.data), config, test=pixels(30, task, seed=1))
        found.append((learner.pool.labeled.tolist(), comparable(rows), list(learner.model.module.parameters())))
    assert found[0][:2] == found[1][:2]
    assert all(torch.equal(one, other) for one, other in zip(found[0][2], found[1][2], strict=True))
