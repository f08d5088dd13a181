"""The module's validation runs at least once in every round."""

import pytest
import pytorch_lightning as pl
from helpers.modules import Validated, learner_of, settings
from pytorch_lightning.callbacks import EarlyStopping

from dal.errors import DalError


class Records(Validated):
    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_validation_epoch_end(self):
        self.epochs.append(self.trainer.current_epoch)


class Reads(Records):
    def on_train_epoch_end(self):
        self.trainer.callback_metrics["val_loss"]


def validated(kind, check_every, max_updates=12, **trainer):
    learner = learner_of(kind, training=settings(check_every=check_every, max_updates=max_updates), **trainer)
    learner.tell_validation(range(80, 90), learner.data.labels[80:90].tolist())
    learner.fit()
    return learner.model.module


@pytest.mark.parametrize(("check_every", "epochs"), [(6, [1, 3]), (12, [3]), (10, [3]), (50, [0, 1, 2, 3])])
def test_validation_runs_in_every_round(check_every, epochs):
    # 20 labels are 3 batches of 8.
    assert validated(Records, check_every).epochs == epochs


def test_a_round_that_stops_early_is_validated_with_its_last_update():
    class Stops(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            trainer.should_stop = trainer.global_step >= 4

    assert validated(Records, 12, callbacks=[Stops()]).epochs == [1]


def test_a_hook_that_reads_a_metric_before_validation_is_named():
    with pytest.raises(DalError) as error:
        validated(Reads, 6)
    assert str(error.value) == (
        "trainer.callback_metrics: expected a metric that validation has logged, which runs about every "
        "training.check_every updates, got 'val_loss'."
    )


@pytest.mark.parametrize("check_every", [2, 50])
def test_a_misspelled_metric_is_an_error_in_the_first_round(check_every):
    with pytest.raises(DalError, match="val_los"):
        validated(Records, check_every, callbacks=[EarlyStopping("val_los")])
