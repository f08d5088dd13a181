"""A metric that nothing logs is refused before a label is bought, and one that may come is not."""

import warnings
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from helpers.modules import Mine, learner_of, settings
from helpers.toys import toy_data
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from dal import ActiveLearner, adapt, run
from dal.acquisition import Margin
from dal.errors import DalError
from dal.labeling import DatasetOracle
from dal.stopping import CampaignConfig
from dal.training.fit_round import check_training
from dal.training.trainer import logged


class Literal(Mine):
    def validation_step(self, batch, batch_idx):
        self.log("val_accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())


class InPieces(Mine):
    """Logs under names that only exist when it runs."""

    def training_step(self, batch, batch_idx):
        return self.evaluate(batch, "train")

    def validation_step(self, batch, batch_idx):
        self.evaluate(batch, "val")

    def evaluate(self, batch, stage):
        logits = self(batch[0])
        loss = torch.nn.functional.cross_entropy(logits, batch[1])
        self.log(f"{stage}_loss", loss, on_step=stage == "train", on_epoch=True)
        return loss


class Collected(Mine):
    """Logs torchmetrics of the epoch."""

    def __init__(self):
        super().__init__()
        metrics = {"accuracy": MulticlassAccuracy(3), "f1": MulticlassF1Score(3)}
        self.metrics = MetricCollection(metrics, prefix="val_")

    def validation_step(self, batch, batch_idx):
        self.metrics.update(self(batch[0]), batch[1])

    def on_validation_epoch_end(self):
        self.log_dict(self.metrics.compute())
        self.metrics.reset()


class Later(Collected):
    """Logs from the second epoch on."""

    def on_train_epoch_end(self):
        if self.current_epoch:
            self.log_dict(dict.fromkeys(["late"], 1.0))


class LaterInside(Collected):
    """Logs more names at the same place from the second epoch on."""

    def on_train_epoch_end(self):
        found = {"early": 1.0} | ({"late": 2.0} if self.current_epoch else {})
        self.log_dict(found)


class Helped(Mine):
    def training_step(self, batch, batch_idx):
        log_for(self)
        return super().training_step(batch, batch_idx)


def log_for(module):
    module.log("helped", 1.0)


class Broken(Collected):
    def on_validation_epoch_end(self):
        self.log_dict({name: value for name, value in self.metrics.compute().items() if self.unknown})


class Writes(Collected):
    def on_train_epoch_start(self):
        Path("epochs.txt").write_text("1")


class Gap(pl.Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.log("gap", 1.0)


class Own(pl.Callback):
    def __init__(self, monitor):
        self.monitor = monitor

    def on_validation_end(self, trainer, pl_module):
        self.last = trainer.callback_metrics.get(self.monitor)


def checked(kind, *callbacks, num_validation=10):
    learner = learner_of(kind, callbacks=list(callbacks), num_labels=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_training(learner.setup, learner.data, num_validation)


@pytest.mark.parametrize(
    ("kind", "metric", "names"),
    [
        (Literal, "val_acc", "train_loss, val_accuracy, got 'val_acc' (did you mean val_accuracy?)"),
        (Literal, "val_accuracies", "train_loss, val_accuracy, got 'val_accuracies' (did you mean val_accuracy?)"),
        (InPieces, "val_los", "*_loss, train_loss, got 'val_los' (did you mean *_loss?)"),
        (InPieces, "valid_loss", "train_loss, train_loss_epoch, train_loss_step, val_loss, got 'valid_loss'"),
        (Collected, "val_acc", "train_loss, val_accuracy, val_f1, got 'val_acc' (did you mean val_accuracy?)"),
    ],
)
@pytest.mark.parametrize("watch", [EarlyStopping, lambda m: ModelCheckpoint("unused", monitor=m)])
def test_a_misspelt_metric_is_refused_with_the_names_that_exist(kind, metric, names, watch):
    callback = watch(metric)
    with pytest.raises(DalError) as error:
        checked(kind, callback)
    what = f"trainer.callbacks, monitor of {type(callback).__name__}"
    assert str(error.value).startswith(f"{what}: expected one of {names}")


@pytest.mark.parametrize(
    ("kind", "callbacks"),
    [
        (Literal, [EarlyStopping("val_accuracy"), ModelCheckpoint("unused", monitor="step")]),
        (InPieces, [EarlyStopping("val_loss"), EarlyStopping("train_loss_epoch"), EarlyStopping("train_loss_step")]),
        (Collected, [EarlyStopping("val_f1")]),
        (Later, [EarlyStopping("late")]),
        (LaterInside, [EarlyStopping("late")]),
        (Helped, [EarlyStopping("helped")]),
        (Broken, [EarlyStopping("val_f2")]),
        (Literal, [Gap(), EarlyStopping("gap")]),
        (Literal, [LearningRateMonitor(), EarlyStopping("lr-SGD")]),
        (Mine, [EarlyStopping("train_loss")]),
    ],
)
def test_a_metric_that_comes_or_may_come_is_not_refused(kind, callbacks):
    checked(kind, *callbacks)


def test_a_module_that_writes_files_is_not_tried(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checked(Writes, EarlyStopping("val_acc"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("callback", [Own("val_acc"), EarlyStopping("val_acc", strict=False)])
def test_what_lightning_would_not_refuse_is_a_warning(callback):
    with pytest.raises(UserWarning, match=r"monitor of \w+: expected one of train_loss, val_accuracy, got 'val_acc'"):
        checked(Literal, callback)


def test_a_metric_of_validation_without_points_is_refused_under_any_name():
    class Other(Mine):
        def validation_step(self, batch, batch_idx):
            self.log("score", 1.0)

    with pytest.raises(DalError, match=r"^trainer\.callbacks: expected validation points .*EarlyStopping\('score'\)"):
        checked(Other, EarlyStopping("score"), num_validation=0)
    with pytest.raises(DalError, match=r"expected one of train_loss, got 'x'\.$"):
        checked(Other, EarlyStopping("x"), num_validation=0)


@pytest.mark.parametrize("strict", [True, False])
def test_a_scheduler_of_a_metric_that_nothing_logs_is_refused(strict):
    class Plateau(Literal):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            schedule = {"scheduler": ReduceLROnPlateau(optimizer), "monitor": "val_acc", "strict": strict}
            return [optimizer], [schedule]

    expected = "configure_optimizers, monitor of ReduceLROnPlateau: expected one of train_loss, val_accuracy, got"
    with pytest.raises(DalError if strict else UserWarning, match=expected):
        checked(Plateau)


def test_the_metrics_of_the_classifier_are_known(new_model):
    config = CampaignConfig(initial_size=10, query_size=10, budget=20, validation_size=10)
    trainer = {"accelerator": "cpu", "callbacks": [EarlyStopping("val_acc")]}
    learner = ActiveLearner(new_model(), toy_data(), Margin(), training=settings(), trainer=trainer)
    with pytest.raises(DalError, match=r"expected one of \*_accuracy, \*_loss, train_loss, got 'val_acc'"):
        run(learner, DatasetOracle(learner.data), config)
    assert learner.pool.num_labeled == 0


def test_the_trial_leaves_no_trace(monkeypatch, recwarn, capsys, tmp_path):
    class Noisy(Collected):
        def __init__(self):
            super().__init__()
            self.dropout, self.norm, self.seen = torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(6), []

        def forward(self, x):
            return self.head(self.dropout(self.norm(self.body(x))))

        def training_step(self, batch, batch_idx):
            self.seen.append(float(torch.rand(())))
            self.log("whole", torch.tensor(1))  # Lightning warns once that it is no float
            return super().training_step(batch, batch_idx)

    def campaign():
        torch.manual_seed(0)
        callbacks = [EarlyStopping("val_f1", mode="max"), ModelCheckpoint(tmp_path, monitor="val_f1", save_top_k=0)]
        learner = ActiveLearner(
            adapt(Noisy(), "head"),
            toy_data(),
            Margin(),
            training=settings(),
            trainer={"accelerator": "cpu", "callbacks": callbacks},
        )
        config = CampaignConfig(initial_size=10, query_size=10, budget=40, validation_size=10)
        rows = run(learner, DatasetOracle(learner.data), config)
        return rows, learner.pool.labeled, learner.model.module

    tried, trial = [], logged.logged_in_trial
    monkeypatch.setattr(logged, "logged_in_trial", lambda *a: tried.append(trial(*a)) or tried[-1])
    with_trial = campaign()
    assert [found.names for found in tried] == [{"train_loss", "val_accuracy", "val_f1", "whole"}]
    assert any("the value needs to be floating" in str(given.message) for given in recwarn)
    monkeypatch.setattr(logged, "logged_in_trial", lambda *a: None)
    without = campaign()
    assert torch.equal(with_trial[1], without[1])
    weights = [module.state_dict() for _, _, module in (with_trial, without)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert with_trial[2].seen == without[2].seen
    assert capsys.readouterr().out == "" and not list(tmp_path.iterdir())
