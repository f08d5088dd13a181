"""A warm round takes its learning-rate schedule up where a share of it is over."""

import math
import warnings

import pytest
import pytorch_lightning as pl
import torch

from dal import ActiveLearner, Classifier
from dal.acquisition import Random
from dal.errors import DalError
from dal.models.backbones import SmallCNN
from dal.training import TrainingConfig

LR, PLANNED = 0.01, 20


class Rates(pl.Callback):
    """The learning rate that each update was taken with."""

    def __init__(self):
        self.rounds = []

    def on_fit_start(self, trainer, module):
        self.rounds.append([])

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.rounds[-1].append(optimizer.param_groups[0]["lr"])


class Plateau(Classifier):
    """Follows the training loss: halves the rate after every update that is not ten times better."""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=LR)
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=10)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.scheduler, "interval": "step", "monitor": "train_loss"},
        }


class Epochs(Classifier):
    """A schedule that is counted in epochs."""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=LR)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}


def rates(data, rewind, kind=Classifier, rounds=3, warm_start="continue", **options):
    seen = Rates()
    training = TrainingConfig(
        batch_size=8,
        monitor="none",
        min_updates=1,
        max_updates=PLANNED,
        check_every=PLANNED,
        warm_start=warm_start,
        rewind=rewind,
    )
    learner = ActiveLearner(
        lambda: kind(SmallCNN(1, (8, 8)), 3, lr=LR, optimizer="sgd", **options),
        data,
        Random(),
        training=training,
        trainer={"callbacks": seen, "accelerator": "cpu"},
    )
    updates = []
    for _ in range(rounds):
        query = learner.ask(8)
        learner.tell(query, data.labels[list(query)].tolist())
        updates.append(learner.fit().updates)
    assert updates == [len(round) for round in seen.rounds]
    return seen.rounds


def cosine(step):
    return LR * (1 + math.cos(math.pi * step / PLANNED)) / 2


@pytest.mark.parametrize(("rewind", "skipped"), [(0.0, 0), (0.25, 5), (0.5, 10), (0.74, 14), (0.99, 19)])
def test_a_warm_round_begins_at_its_share_of_the_schedule_and_ends_where_that_ends(data, rewind, skipped):
    first, second, third = rates(data, rewind, schedule="cosine")
    whole = [cosine(step) for step in range(PLANNED)]
    assert first == pytest.approx(whole), "a round from scratch has all of it"
    assert second == pytest.approx(whole[skipped:]) and third == second
    assert len(second) == PLANNED - skipped


def test_rounds_from_scratch_have_nothing_to_rewind(data):
    with pytest.raises(DalError, match=r"training.rewind: expected 0 with warm_start=scratch, .* got 0.5"):
        rates(data, 0.5, rounds=2, warm_start="scratch", schedule="cosine")


def test_a_constant_rate_takes_fewer_updates_only(data):
    first, second = rates(data, 0.25, rounds=2)
    assert first == [LR] * PLANNED and second == [LR] * 15


def test_schedulers_that_follow_a_metric_or_epochs_are_left_alone(data):
    _, undisturbed = rates(data, 0.0, Plateau, rounds=2)
    _, rewound = rates(data, 0.5, Plateau, rounds=2)
    assert rewound == undisturbed[:10] and rewound[0] == LR
    assert rewound[-1] < LR, "it does follow the loss"
    _, undisturbed = rates(data, 0.0, Epochs, rounds=2)
    _, rewound = rates(data, 0.5, Epochs, rounds=2)
    assert rewound == undisturbed[:10] and rewound[0] == LR


def test_moving_on_says_nothing_of_a_wrong_order(data):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*lr_scheduler.step.*")
        _, second = rates(data, 0.5, rounds=2, schedule="cosine")
    assert second[0] == pytest.approx(LR / 2)
