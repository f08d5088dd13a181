"""An epoch is one pass over the labeled points, and a module reads the length of its round from the Trainer."""

import pytest
import pytorch_lightning as pl
import torch
from helpers.modules import Mine, Validated, learner_of, rounds, settings
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau, StepLR

from dal.training.trainer.epochs import EpochLoader


def scheduled(make, base=Mine):
    class Scheduled(base):
        def configure_optimizers(self):
            self.facts = (self.trainer.max_epochs, self.trainer.estimated_stepping_batches)
            self.optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            return {"optimizer": self.optimizer, "lr_scheduler": make(self)}

    return Scheduled


class Rates(pl.Callback):
    def __init__(self):
        self.rates, self.epochs = [], []

    def on_train_batch_end(self, trainer, *args):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.epochs.append(trainer.current_epoch)


@pytest.mark.parametrize(
    "changes",
    [{}, {"monitor": "train_accuracy", "check_every": 1}, {"monitor": "train_accuracy", "check_every": 5}],
)
def test_checks_change_neither_epochs_nor_rates(changes):
    rates = Rates()
    kind = scheduled(lambda module: StepLR(module.optimizer, 1, gamma=0.5))
    config = settings(max_updates=7, target_train_accuracy=2.0, **changes)
    learner_of(kind, training=config, callbacks=[rates]).fit()
    # 20 labels are 3 batches of 8.
    assert rates.epochs == [0, 0, 0, 1, 1, 1, 2]
    # The scheduler steps at the end of the last batch of an epoch.
    assert rates.rates == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025])


def test_checks_do_not_change_the_dropout_of_a_module_of_ones_own():
    class Dropped(Mine):
        def forward(self, x):
            return self.head(torch.nn.functional.dropout(self.body(x), 0.5, self.training))

    ends = []
    for check_every in (1, 5, 50):
        config = settings(monitor="train_accuracy", target_train_accuracy=2.0, check_every=check_every, max_updates=7)
        learner = learner_of(Dropped, training=config)
        seen = []
        learner.model.module.on_train_end = lambda m=learner.model.module, s=seen: s.append(m.head.weight.clone())
        learner.fit()
        ends.append(seen[0])
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])


@pytest.mark.parametrize(("labels_batch", "accumulate", "epochs"), [(8, 1, 4), (64, 1, 10), (8, 2, 5), (64, 4, 10)])
def test_max_epochs_and_stepping_batches_are_those_of_the_round(labels_batch, accumulate, epochs):
    kind = scheduled(lambda module: StepLR(module.optimizer, 1))
    recorder = Rates()
    config = settings(batch_size=labels_batch, max_updates=10)
    learner = learner_of(kind, training=config, accumulate_grad_batches=accumulate, callbacks=[recorder])
    assert learner.fit().updates == 10
    assert learner.model.module.facts == (epochs, 10)
    assert len(recorder.rates) == 10 * accumulate
    assert recorder.epochs[-1] == epochs - 1


def test_a_cosine_over_all_epochs_ends_once_at_zero():
    rates = Rates()
    kind = scheduled(lambda module: CosineAnnealingLR(module.optimizer, T_max=module.trainer.max_epochs))
    learner = learner_of(kind, training=settings(max_updates=12), callbacks=[rates])
    learner.fit()
    assert sorted(rates.rates, reverse=True) == rates.rates
    assert rates.rates[-1] == pytest.approx(0.0, abs=1e-9)


def test_one_cycle_over_all_updates_works_in_each_round_and_where_a_round_stops_early():
    def one_cycle(module):
        total = module.trainer.estimated_stepping_batches
        return {"scheduler": OneCycleLR(module.optimizer, 0.1, total_steps=total), "interval": "step"}

    kind = scheduled(one_cycle)
    early = settings(monitor="train_accuracy", target_train_accuracy=0.0, max_updates=40, check_every=5)
    learner = learner_of(kind, training=early)
    assert [result.updates for result in rounds(learner, 2)] == [5, 5]
    assert learner.model.module.facts[1] == 40
    rates = Rates()
    full = learner_of(kind, training=settings(max_updates=10), callbacks=[rates])
    full.fit()
    # The rate of the last update is that after the ninth.
    assert max(rates.rates) == pytest.approx(0.1) and rates.rates[8] < 1e-6 and len(rates.rates) == 10


def test_a_plateau_steps_when_validation_runs():
    def plateau(module):
        return {"scheduler": ReduceLROnPlateau(module.optimizer, patience=0), "monitor": "val_loss"}

    rates = Rates()
    config = settings(batch_size=64, max_updates=12, check_every=4)
    learner = learner_of(scheduled(plateau, Validated), training=config, callbacks=[rates])
    learner.tell_validation(range(80, 90), learner.data.labels[80:90].tolist())
    learner.fit()
    # Validation after 4, 8 and 12 updates, of one epoch each; the loss of the first is the best.
    assert rates.rates == pytest.approx([0.1] * 8 + [0.01] * 4)


def test_a_plateau_on_the_training_loss_steps_in_each_epoch():
    class Worse(Mine):
        def training_step(self, batch, batch_idx):
            self.log("worse", float(self.trainer.global_step), on_epoch=True, on_step=False)
            return super().training_step(batch, batch_idx)

    def plateau(module):
        return {"scheduler": ReduceLROnPlateau(module.optimizer, patience=0), "monitor": "worse"}

    rates = Rates()
    learner_of(scheduled(plateau, Worse), training=settings(max_updates=9), callbacks=[rates]).fit()
    assert rates.rates == pytest.approx([0.1] * 6 + [0.01] * 3)


def test_parts_of_a_stream_cover_it_in_order():
    class Counted(list):
        starts = 0

        def __iter__(self):
            self.starts += 1
            return super().__iter__()

    stream = Counted(range(5))
    loader = EpochLoader(stream, 3)
    assert [list(loader) for _ in range(4)] == [[0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1]]
    assert stream.starts == 3
