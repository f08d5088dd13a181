"""Modules of lightning.pytorch train with a Trainer, callbacks and loggers of that package."""

import pytest
import pytorch_lightning as pl
import torch
from helpers.modules import learner_of, rounds, settings, user_module
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.loggers import CSVLogger

from dal.acquisition import BADGE
from dal.errors import DalError
from dal.runtime.lightning_package import in_package, is_lightning_module, package_of
from dal.training.callbacks.updates import UpdateCount

lightning = pytest.importorskip("lightning.pytorch")


def test_a_module_of_either_package_trains_alike():
    ends = []
    for package in (pl, lightning):
        config = settings(monitor="train_accuracy", target_train_accuracy=2.0, warm_start="continue")
        learner = learner_of(user_module(package), training=config, acquisition=BADGE())
        results = rounds(learner, 2)
        assert isinstance(learner.model.module.trainer, package.Trainer)
        assert all(isinstance(callback, package.Callback) for callback in learner.model.module.trainer.callbacks)
        row = learner.ledger.row()
        ends.append((learner.pool.labeled.tolist(), results, row["flops_backward_train"], learner.model.module))
    assert ends[0][:3] == ends[1][:3]
    old, new = ends[0][3].state_dict(), ends[1][3].state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)


def test_callbacks_loggers_and_averages_of_its_own_package_work(tmp_path):
    class Recorder(lightning.Callback):
        def __init__(self):
            self.steps = []

        def on_train_batch_end(self, trainer, *args):
            self.steps.append(trainer.global_step)

    recorder = Recorder()
    logger = lightning.loggers.CSVLogger(tmp_path)
    checkpoint = lightning.callbacks.ModelCheckpoint(tmp_path / "kept")
    options = {"callbacks": [recorder, checkpoint], "logger": logger, "log_every_n_steps": 1}
    learner = learner_of(user_module(lightning), training=settings(average=0.5), **options)
    rounds(learner, 2)
    assert recorder.steps == [1, 2, 3, 4, 5, 6]
    assert "11," in next(tmp_path.rglob("metrics.csv")).read_text()


def test_manual_optimization_works():
    class Manual(user_module(lightning)):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers().optimizer
            optimizer.zero_grad()
            self.manual_backward(torch.nn.functional.cross_entropy(self(batch[0]), batch[1]))
            optimizer.step()

    assert learner_of(Manual).fit().updates == 6


@pytest.mark.parametrize(
    ("module", "name", "thing", "message"),
    [
        (
            lightning,
            "callbacks",
            [EarlyStopping("a")],
            "an object of lightning.pytorch, the package of the module, got",
        ),
        (pl, "callbacks", lightning.callbacks.EarlyStopping("a"), "an object of pytorch_lightning, the package of the"),
        (
            lightning,
            "logger",
            CSVLogger("."),
            "an object of lightning.pytorch, the package of the module, got CSVLogg",
        ),
        (
            lightning,
            "strategy",
            pl.strategies.SingleDeviceStrategy("cpu"),
            "an object of lightning.pytorch, the package",
        ),
    ],
)
def test_a_mixture_of_the_packages_is_refused(module, name, thing, message):
    with pytest.raises(DalError) as error:
        learner_of(user_module(module), **{name: thing})
    assert str(error.value).startswith(f"trainer.{name}: expected {message}")


def test_the_package_of_an_object():
    assert package_of(lightning.Callback()) == "lightning.pytorch"
    assert package_of(user_module(lightning)()) == "lightning.pytorch"
    assert package_of(torch.nn.Linear(1, 1)) is None
    assert not is_lightning_module(torch.nn.Linear(1, 1))
    assert in_package(UpdateCount, "Callback", "pytorch_lightning") is UpdateCount
    assert issubclass(in_package(UpdateCount, "Callback", "lightning.pytorch"), lightning.Callback)
