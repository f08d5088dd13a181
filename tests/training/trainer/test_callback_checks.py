"""Lightning's callbacks work, or are refused in one sentence before a label is bought."""

import pytest
import pytorch_lightning as pl
import torch
from helpers.modules import Mine, Validated, learner_of, rounds, settings
from pytorch_lightning.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    DeviceStatsMonitor,
    EarlyStopping,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelPruning,
    OnExceptionCheckpoint,
)

from dal import run
from dal.errors import DalError
from dal.labeling import DatasetOracle
from dal.stopping import CampaignConfig


def campaign(kind, validation_size=0, **trainer):
    """A campaign of three rounds, which buys no label if it is refused."""
    learner = learner_of(kind, training=settings(max_updates=12), num_labels=0, **trainer)
    bought = []

    class Oracle(DatasetOracle):
        def __call__(self, indices):
            bought.extend(indices)
            return super().__call__(indices)

    config = CampaignConfig(initial_size=10, query_size=10, budget=30, validation_size=validation_size)
    try:
        return [row.updates for row in run(learner, Oracle(learner.data), config)]
    except DalError:
        assert not bought
        raise


def with_callbacks(made, base=Validated):
    class Own(base):
        def configure_callbacks(self):
            return made()

    return Own


SHARED = EarlyStopping("val_loss", patience=1)
MADE = {
    "new": lambda: [EarlyStopping("val_loss", patience=1)],
    "the same object in each round": lambda: [SHARED],
    "no list": lambda: SHARED,
}


@pytest.mark.parametrize("name", MADE)
def test_callbacks_of_the_module_start_anew_in_each_round(name):
    found = campaign(with_callbacks(MADE[name]), 10)
    assert found == campaign(Validated, 10, callbacks=[EarlyStopping("val_loss", patience=1)]) == [4, 6]


def test_a_callback_that_the_module_holds_starts_anew_in_each_round():
    class Holds(Validated):
        def __init__(self):
            super().__init__()
            self.stopping = EarlyStopping("val_loss", patience=1)

        def configure_callbacks(self):
            return [self.stopping]

    assert campaign(Holds, 10) == [4, 6]


@pytest.mark.parametrize("made", [lambda: [EarlyStopping("val_loss")], lambda: ModelCheckpoint(monitor="val_loss")])
def test_what_a_callback_of_the_module_monitors_is_checked(made):
    expected = (
        r"^configure_callbacks: expected validation points \(campaign\.validation_size or tell_validation\(\)\) for "
    )
    with pytest.raises(DalError, match=expected):
        campaign(with_callbacks(made))
    with pytest.raises(DalError, match=r"^configure_callbacks: expected a module with a validation_step for "):
        campaign(with_callbacks(made, Mine), 10)


def test_what_a_callback_of_a_function_monitors_is_checked():
    with pytest.raises(DalError, match=r"^trainer\.callbacks: expected validation points .* for EarlyStopping"):
        campaign(Validated, callbacks=[lambda: EarlyStopping("val_loss")])
    with pytest.raises(DalError, match=r"^trainer\.callbacks: expected callbacks, such as .*, got 3\.$"):
        campaign(Validated, callbacks=[lambda: 3])


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (lambda: "foo", "expected callbacks, such as EarlyStopping('val_loss'), got 'foo'."),
        (
            BatchSizeFinder,
            "BatchSizeFinder changes the batch size, which dal controls. Set training.batch_size instead.",
        ),
        (BackboneFinetuning, "expected a module with an attribute 'backbone' for BackboneFinetuning, got 'Mine'."),
        (
            LearningRateFinder,
            "expected a module with an attribute 'lr' or 'learning_rate' for LearningRateFinder, got 'Mine'.",
        ),
        (
            lambda: ModelPruning("l1_unstructured", make_pruning_permanent=False),
            "expected ModelPruning with make_pruning_permanent=True, because dal stores plain weights, got False.",
        ),
    ],
)
def test_callbacks_that_a_round_cannot_use_are_refused_when_the_learner_is_made(callback, message):
    with pytest.raises(DalError) as error:
        learner_of(Mine, callbacks=[callback()])
    assert str(error.value) == f"trainer.callbacks: {message}"
    with pytest.raises(DalError) as error:
        learner_of(with_callbacks(lambda: [callback()], Mine))
    assert str(error.value) == f"configure_callbacks: {message}".replace("'Mine'", "'Own'")


def test_a_finder_of_the_learning_rate_says_what_it_costs(tmp_path):
    class WithRate(Mine):
        def __init__(self):
            super().__init__()
            self.lr = 0.05

    finder = LearningRateFinder(num_training_steps=8)
    with pytest.warns(UserWarning, match=r"the costs of a round leave out the batches that LearningRateFinder tries"):
        learner = learner_of(WithRate, callbacks=[finder], default_root_dir=tmp_path)
    assert learner.fit().updates == 6


@pytest.mark.parametrize("monitor", ["none", "train_accuracy"])
@pytest.mark.parametrize("warm_start", ["scratch", "continue"])
def test_a_round_keeps_pruned_weights(monitor, warm_start):
    pruning = ModelPruning("l1_unstructured", amount=0.5)
    learner = learner_of(Mine, callbacks=[pruning], training=settings(monitor=monitor, warm_start=warm_start))
    rounds(learner, 2)
    module = learner.model.module
    assert float((module.body[1].weight == 0).double().mean()) > 0.4
    assert set(module.state_dict()) == set(Mine().state_dict())


@pytest.mark.parametrize("monitor", [LearningRateMonitor, DeviceStatsMonitor])
def test_a_callback_that_needs_a_logger_trains_without_one_and_says_so(monitor):
    with pytest.warns(UserWarning, match=rf"^trainer\.logger: {monitor.__name__} has no logger to write to\. "):
        assert learner_of(Mine, callbacks=[monitor()]).fit().updates == 6
    with pytest.warns(UserWarning, match=rf"^trainer\.logger: {monitor.__name__} has no logger to write to\. "):
        assert learner_of(with_callbacks(lambda: [monitor()], Mine)).fit().updates == 6
    with pytest.raises(DalError, match=rf"^trainer\.logger: expected a logger for {monitor.__name__}, got False\.$"):
        learner_of(with_callbacks(lambda: [monitor()], Mine), logger=False)


class Writes(Mine):
    """Writes to the logger that Lightning has by default."""

    def training_step(self, batch, batch_idx):
        self.logger.experiment.add_image("images", batch[0], self.global_step)
        self.logger.log_image(key="images", images=[batch[0]])
        return super().training_step(batch, batch_idx)


class WritesToo(pl.Callback):
    def on_train_start(self, trainer, pl_module):
        trainer.logger.experiment.add_text("text", "text")


def test_what_a_module_or_a_callback_writes_without_a_logger_is_discarded():
    assert [result.updates for result in rounds(learner_of(Writes), 2)] == [6, 6]
    assert learner_of(Mine, callbacks=[WritesToo()]).fit().updates == 6
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'experiment'"):
        learner_of(Writes, logger=False).fit()


def test_functions_that_create_something_else_are_named():
    for option, kind in (("callbacks", "callback"), ("logger", "logger")):
        with pytest.raises(DalError, match=rf"^trainer\.{option}: expected a function that creates a {kind}, got 3\.$"):
            learner_of(Mine, **{option: [lambda: 3]}).fit()


def test_a_module_may_ask_for_another_loader_while_it_trains():
    class Asks(Mine):
        def on_train_start(self):
            self.count = len(self.trainer.datamodule.train_dataloader().dataset)

    learner = learner_of(Asks)
    assert learner.fit().updates == 6 and learner.model.module.count == 20


def test_the_module_keeps_its_own_hook():
    learner = learner_of(Mine)
    learner.model.module.configure_callbacks = own = lambda: [pl.Callback()]
    learner.fit()
    assert learner.model.module.configure_callbacks is own
    assert torch.is_grad_enabled()


def test_a_checkpoint_that_lightning_would_resume_in_another_round_is_refused(tmp_path):
    with pytest.raises(DalError, match=r"^trainer\.callbacks: OnExceptionCheckpoint loads the checkpoint of "):
        learner_of(Mine, callbacks=[OnExceptionCheckpoint(tmp_path)])


@pytest.mark.parametrize(
    "metric", ["val_loss", "loss/val", "metrics/valid_acc", "Validation loss", "avg_val_loss", "dev_f1"]
)
def test_validation_metrics_are_known_by_any_common_name(metric):
    with pytest.raises(DalError, match=r"^trainer\.callbacks: expected validation points .* got 'none'\.$"):
        campaign(Validated, callbacks=[EarlyStopping(metric)])


@pytest.mark.parametrize("metric", ["train_loss", "interval", "revalued", "devices"])
def test_other_names_are_no_validation_metrics(metric):
    assert campaign(Mine, callbacks=[EarlyStopping(metric, strict=False)]) == [12, 12, 12]


def test_a_validation_step_of_several_loaders_is_refused_before_a_label_is_bought():
    class Several(Mine):
        def validation_step(self, batch, batch_idx, dataloader_idx):
            self.log("val_loss", 0.0)

    with pytest.raises(DalError, match=r"^validation_step: expected dataloader_idx with a default value"):
        campaign(Several, validation_size=5)
    assert campaign(Several) == [12, 12, 12]
