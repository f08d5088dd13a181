"""Options of Lightning's Trainer that dal sets, or that cannot work, are one sentence before a label is bought."""

import warnings

import pytest
import pytorch_lightning as pl
import torch
from helpers.modules import Mine, Validated, learner_of, settings
from helpers.toys import toy_data
from pytorch_lightning.callbacks import DeviceStatsMonitor, EarlyStopping, LearningRateMonitor
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.plugins.precision import DoublePrecision
from torch.optim.lr_scheduler import ReduceLROnPlateau

from dal import ActiveLearner, adapt, run
from dal.acquisition import Random
from dal.errors import DalError
from dal.labeling import DatasetOracle
from dal.models.classifier import Classifier
from dal.stopping import CampaignConfig
from dal.training.trainer.trainer_options import RESERVED, check_trainer_options, reproducible


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({name: 1}, f"trainer.{name}: dal controls this option. ") for name in RESERVED),
        ({"accumulate_grad_batches": 0}, "trainer.accumulate_grad_batches: expected a whole number from 1, got 0."),
        ({"accumulate_grad_batches": "abc"}, "trainer.accumulate_grad_batches: expected a whole number from 1, got 'a"),
        ({"accumulate_grad_batches": -1}, "trainer.accumulate_grad_batches: expected a whole number from 1, got -1."),
        ({"accumulate_grad_batches": True}, "trainer.accumulate_grad_batches: expected a whole number from 1"),
        ({"accumulate_grad_batches": 1.5}, "trainer.accumulate_grad_batches: expected a whole number from 1"),
        ({"gradient_clip_val": float("nan")}, "trainer.gradient_clip_val: expected a number from 0, or null, got nan."),
        ({"gradient_clip_val": float("inf")}, "trainer.gradient_clip_val: expected a number from 0, or null, got inf."),
        ({"gradient_clip_val": -1}, "trainer.gradient_clip_val: expected a number from 0, or null, got -1."),
        ({"gradient_clip_val": "1"}, "trainer.gradient_clip_val: expected a number from 0, or null, got '1'."),
        ({"gradient_clip_algorithm": "foo"}, "trainer.gradient_clip_algorithm: expected norm or value, got 'foo'."),
        ({"deterministic": "abc"}, "trainer.deterministic: expected true, false or warn, got 'abc'."),
        ({"deterministic": 3}, "trainer.deterministic: expected true, false or warn, got 3."),
        ({"sync_batchnorm": "no"}, "trainer.sync_batchnorm: expected true or false, got 'no'."),
        ({"detect_anomaly": "no"}, "trainer.detect_anomaly: expected true or false, got 'no'."),
        ({"num_nodes": 0}, "trainer.num_nodes: expected a whole number from 1, got 0."),
        ({"num_nodes": 9}, "trainer.num_nodes: expected 1 without a launcher such as torchrun or SLURM, got 9."),
        ({"log_every_n_steps": -1}, "trainer.log_every_n_steps: expected a whole number from 0, got -1."),
        ({"limit_val_batches": -1}, "trainer.limit_val_batches: expected a whole number from 0, or a share"),
        ({"limit_val_batches": 1.5}, "trainer.limit_val_batches: expected a whole number from 0, or a share"),
        ({"devices": 10_000}, "trainer.devices: expected at most "),
        ({"devices": "10000"}, "trainer.devices: expected at most "),
        ({"devices": 0}, "trainer.devices: expected a whole number from 1, -1 for all, auto, or a list, got 0."),
        ({"devices": True}, "trainer.devices: expected a whole number from 1"),
        ({"devices": "abc"}, "trainer: expected options that Lightning accepts, got: "),
        ({"precision": "foo"}, "trainer: expected options that Lightning accepts, got: Precision 'foo' is invalid"),
        ({"strategy": "foo"}, "trainer: expected options that Lightning accepts, got: "),
        ({"accelerator": "foo"}, "trainer: expected options that Lightning accepts, got: "),
        ({"profiler": "foo"}, "trainer: expected options that Lightning accepts, got: "),
        ({"plugins": "foo"}, "trainer: expected options that Lightning accepts, got: "),
        ({"foo": 1}, "trainer: expected one of accelerator, "),
        ({"presicion": 16}, "trainer: expected one of accelerator, "),
        (
            {"callbacks": ["foo"]},
            "trainer.callbacks: expected callbacks, such as EarlyStopping('val_loss'), got 'f",
        ),
        ({"callbacks": "foo"}, "trainer.callbacks: expected callbacks, such as "),
        ({"callbacks": [EarlyStopping]}, "trainer.callbacks: expected callbacks, such as "),
        ({"logger": "csv"}, "trainer.logger: expected loggers, true or false, got 'csv'."),
        ({"logger": CSVLogger}, "trainer.logger: expected loggers, true or false, got <class"),
        ({"callbacks": [EarlyStopping("a"), EarlyStopping("a")]}, "trainer: expected options that Lightning accepts"),
    ],
)
def test_wrong_options_are_one_sentence(options, message):
    with pytest.raises(DalError) as error:
        check_trainer_options({"accelerator": "cpu"} | options)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    with pytest.raises(DalError) as error:
        learner_of(Mine, **options)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_clip_val": 0},
        {"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"},
        {"deterministic": "warn", "benchmark": False, "sync_batchnorm": False},
        {"precision": "bf16-mixed"},
        {"precision": 32},
        {"devices": "auto", "num_nodes": 1},
        {"devices": None, "callbacks": None, "logger": None},
        {"profiler": "simple", "num_sanity_val_steps": 0, "log_every_n_steps": 0, "limit_val_batches": 0.5},
        {"callbacks": (pl.Callback(),), "logger": True},
        {"callbacks": pl.Callback()},
        {"callbacks": [lambda: pl.Callback()]},
        {"strategy": pl.strategies.SingleDeviceStrategy("cpu")},
    ],
)
def test_right_options_train_two_rounds(options):
    learner = learner_of(Mine, **options, default_root_dir="/tmp")
    if options.get("logger"):
        learner.trainer["logger"] = False
    assert [learner.fit().updates for _ in range(2)] == [6, 6]


def test_processes_of_a_launcher_may_outnumber_the_cores(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "10000")
    check_trainer_options({"accelerator": "cpu", "devices": 1, "num_nodes": 1})


@pytest.mark.parametrize("option", [{"gradient_clip_val": 1.0}, {"accumulate_grad_batches": 2}])
def test_what_manual_optimization_does_itself_is_refused(option):
    class Manual(Mine):
        @property
        def automatic_optimization(self):
            return False

    with pytest.raises(DalError, match="expected no value, because the module uses manual optimization, got"):
        learner_of(Manual, **option)


class Plateau(Mine):
    def configure_optimizers(self):
        self.calls = getattr(self, "calls", 0) + 1
        assert self.trainer.estimated_stepping_batches and self.trainer.max_epochs
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return {"optimizer": optimizer, "lr_scheduler": ReduceLROnPlateau(optimizer), "monitor": "val_loss"}


class PlateauInLists(Plateau):
    def configure_optimizers(self):
        made = super().configure_optimizers()
        return [made["optimizer"]], [{"scheduler": made["lr_scheduler"], "monitor": made["monitor"]}]


class NestedPlateau(Plateau):
    def configure_optimizers(self):
        made = super().configure_optimizers()
        return {"optimizer": made["optimizer"], "lr_scheduler": {"scheduler": made["lr_scheduler"], "monitor": "val_x"}}


def campaign(module, validation_size=0, **trainer):
    data, bought = toy_data(), []

    class Oracle(DatasetOracle):
        def __call__(self, indices):
            bought.extend(indices)
            return super().__call__(indices)

    model = module if isinstance(module, Classifier) else adapt(module, "head")
    options = {"accelerator": "cpu"} | trainer
    learner = ActiveLearner(model, data, Random(), training=settings(), trainer=options)
    config = CampaignConfig(initial_size=10, query_size=10, budget=40, validation_size=validation_size)
    try:
        return run(learner, Oracle(data), config), learner
    except DalError:
        assert not bought
        raise


@pytest.mark.parametrize("kind", [Plateau, PlateauInLists, NestedPlateau])
def test_a_scheduler_without_validation_is_refused_before_a_label_is_bought(kind):
    with pytest.raises(DalError) as error:
        campaign(kind())
    assert str(error.value).startswith("configure_optimizers: expected validation points (campaign.validation_size or ")
    with pytest.raises(DalError, match=r"^configure_optimizers: expected a module with a validation_step"):
        campaign(kind(), validation_size=10)


def test_a_scheduler_with_validation_trains():
    class Both(Plateau, Validated):
        pass

    rows, learner = campaign(Both(), validation_size=10)
    assert [row.updates for row in rows] == [6, 6, 6]
    assert learner.model.module.calls == 1, "each round starts with the attributes of the first"


class EachStep(Validated):
    """Reads the validation loss in other steps than validation writes it."""

    frequency, strict = 1, True

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        schedule = {"scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer), "monitor": "val_loss"}
        return [optimizer], [schedule | {"interval": "step", "frequency": self.frequency, "strict": self.strict}]


def test_a_plateau_that_steps_before_validation_is_refused_before_a_label_is_bought():
    with pytest.raises(DalError) as error:
        campaign(EachStep(), validation_size=10)
    assert str(error.value) == (
        "configure_optimizers: expected interval='epoch' for ReduceLROnPlateau('val_loss'), because validation runs at "
        "the end of an epoch, got 'step'."
    )


@pytest.mark.parametrize("changes", [{"frequency": 4}, {"strict": False}])
def test_a_plateau_that_steps_after_validation_or_forgives_trains(changes):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*val_loss which is not available but strict.*")
        rows, _ = campaign(type("Kind", (EachStep,), changes)(), validation_size=10)
    assert [row.updates for row in rows] == [6, 6, 6]


def test_a_share_of_less_than_one_validation_batch_is_refused_before_a_label_is_bought():
    with pytest.raises(DalError) as error:
        campaign(Validated(), validation_size=10, limit_val_batches=0.5)
    assert str(error.value) == (
        "trainer.limit_val_batches: expected a whole number, or a share that gives at least one of 1 batch of 10 "
        "validation points, got 0.5."
    )
    campaign(Validated(), limit_val_batches=0.5)
    campaign(Mine(), validation_size=10, limit_val_batches=0.5)


@pytest.mark.parametrize("name", ["val_loss", "valid/acc"])
def test_early_stopping_without_validation_is_refused_before_a_label_is_bought(name):
    stopping = EarlyStopping(name)
    with pytest.raises(DalError) as error:
        campaign(Validated(), callbacks=[stopping])
    assert str(error.value) == (
        "trainer.callbacks: expected validation points (campaign.validation_size or tell_validation()) for "
        f"EarlyStopping({name!r}), got 'none'."
    )
    with pytest.raises(DalError, match=r"^trainer\.callbacks: expected a module with a validation_step"):
        campaign(Mine(), validation_size=10, callbacks=[stopping])
    with pytest.raises(DalError, match=r"^trainer\.callbacks: expected a module with a validation_step"):
        campaign(Validated(), validation_size=10, callbacks=[stopping], limit_val_batches=0)


def test_early_stopping_on_a_metric_of_the_classifier_works(new_model):
    rows, _ = campaign(new_model(), validation_size=10, callbacks=[EarlyStopping("val_loss")])
    assert [row.updates for row in rows] == [6, 6, 6]


def test_a_metric_that_nothing_logs_is_a_sentence():
    with pytest.raises(
        DalError, match=r"^trainer: expected options that Lightning accepts, got: Early stopping conditioned"
    ):
        learner_of(Mine, callbacks=[EarlyStopping("los")]).fit()


@pytest.mark.parametrize(
    ("name", "value"),
    [*(("precision", p) for p in (64, "64", "64-true", "bf16-true", "16-true")), ("plugins", DoublePrecision())],
)
def test_a_precision_with_other_weights_is_refused(name, value):
    expected = rf"^trainer\.{name}: expected a precision with 32-bit weights: 32, 16-mixed or bf16-mixed, got "
    with pytest.raises(DalError, match=expected):
        learner_of(Mine, **{name: value})


@pytest.mark.parametrize("value", [32, "32", "32-true", "bf16-mixed"])
def test_a_precision_with_32_bit_weights_is_valid(value):
    check_trainer_options({"accelerator": "cpu", "precision": value})


@pytest.mark.parametrize("monitor", [LearningRateMonitor, DeviceStatsMonitor])
def test_a_callback_that_needs_a_logger_is_refused_without_one(monitor):
    expected = rf"^trainer\.logger: expected a logger for {monitor.__name__}, got False\.$"
    with pytest.raises(DalError, match=expected):
        learner_of(Mine, callbacks=[monitor()], logger=False)


def test_cuda_trains_reproducibly_unless_told_otherwise(monkeypatch):
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert reproducible({}, cuda) == reproducible({"deterministic": None}, cuda) == {"deterministic": "warn"}
    for chosen in (True, False, "warn"):
        assert reproducible({"deterministic": chosen, "devices": 1}, cuda) == {"deterministic": chosen, "devices": 1}
    assert reproducible({"devices": 1}, cpu) == {"devices": 1}
    seen = []
    monkeypatch.setattr("dal.loop.reproducible", lambda options, device: seen.append(device.type) or dict(options))
    learner_of(Mine(), accelerator="cpu")
    assert seen == ["cpu"]
