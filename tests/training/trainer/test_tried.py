"""A module that cannot train is refused before a label is bought."""

import pytest
import pytorch_lightning as pl
import torch
from helpers.modules import Mine, learner_of, rounds
from helpers.toys import toy_data
from pytorch_lightning.strategies import DDPStrategy
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR

from dal.errors import DalError
from dal.training.fit_round import check_training


@pytest.mark.parametrize("accumulate", [17, 1000])
def test_an_update_of_more_batches_than_the_training_set_has_is_refused(accumulate):
    with pytest.raises(DalError) as error:
        learner_of(Mine, accumulate_grad_batches=accumulate)
    assert str(error.value) == (
        "trainer.accumulate_grad_batches: expected at most 16 batches per update for 90 training images, got "
        f"{accumulate}."
    )


def test_gradients_may_accumulate_over_more_than_the_labels():
    assert [result.updates for result in rounds(learner_of(Mine, accumulate_grad_batches=16), 2)] == [6, 6]


@pytest.mark.parametrize(
    "strategy",
    ["ddp_spawn", "ddp_fork", "ddp_notebook", DDPStrategy(start_method="spawn")],
    ids=["ddp_spawn", "ddp_fork", "ddp_notebook", "object"],
)
def test_a_strategy_that_trains_in_other_processes_is_refused(strategy):
    given = strategy if isinstance(strategy, str) else "DDPStrategy"
    with pytest.raises(DalError) as error:
        learner_of(Mine, strategy=strategy)
    expected = "trainer.strategy: expected a strategy that trains in the process of the learner, such as ddp, got"
    assert str(error.value) == f"{expected} {given!r}."


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed", "single_xla", "xla_debug", "single_tpu"])
def test_a_strategy_for_other_devices_is_one_sentence(strategy):
    with pytest.raises(DalError, match=r"^trainer: expected options that Lightning accepts, got: .+\.$"):
        learner_of(Mine, strategy=strategy)


class Frozen(Mine):
    def __init__(self):
        super().__init__()
        self.requires_grad_(False)


class InSetup(Frozen):
    def setup(self, stage):
        self.head.requires_grad_(True)


class InOptimizers(Frozen):
    def configure_optimizers(self):
        self.head.requires_grad_(True)
        return super().configure_optimizers()


class AtStart(Frozen):
    def on_train_start(self):
        self.head.requires_grad_(True)


class ByHand(Frozen):
    """Trains a parameter that is not registered."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.others = [nn.Parameter(torch.zeros(3))]

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]) + self.others[0], batch[1])
        self.optimizers().zero_grad()
        self.manual_backward(loss)
        self.optimizers().step()

    def configure_optimizers(self):
        return torch.optim.SGD(self.others, lr=0.1)


def test_a_frozen_module_is_refused_when_the_learner_is_made():
    with pytest.raises(DalError, match=r"^model: expected at least one parameter to train, got only frozen ones\. "):
        learner_of(Frozen)


@pytest.mark.parametrize("kind", [InSetup, InOptimizers, AtStart])
def test_a_module_that_unfreezes_itself_trains(kind):
    assert learner_of(kind).fit().updates == 6


def test_a_frozen_module_with_manual_optimization_is_not_refused_when_it_is_made():
    learner_of(ByHand)


def optimizer_of(module):
    return torch.optim.SGD(module.parameters(), lr=0.1)


WRONG = {
    "plateau without monitor": lambda m, o: {"optimizer": o, "lr_scheduler": ReduceLROnPlateau(o)},
    "interval": lambda m, o: ([o], [{"scheduler": StepLR(o, 1), "interval": "batch"}]),
    "key of a scheduler": lambda m, o: ([o], [{"schedular": StepLR(o, 1)}]),
    "key of an optimizer": lambda m, o: {"optimiser": o},
    "number": lambda m, o: ([o], [3]),
    "class": lambda m, o: torch.optim.SGD,
    "text": lambda m, o: "sgd",
    "another optimizer's scheduler": lambda m, o: ([o], [StepLR(optimizer_of(m), 1)]),
    "two optimizers": lambda m, o: [o, optimizer_of(m)],
    "parameters of another network": lambda m, o: optimizer_of(nn.Linear(2, 2)),
}


@pytest.mark.parametrize("name", WRONG)
def test_optimizers_that_cannot_train_are_refused_before_a_label_is_bought(name):
    class Wrong(Mine):
        def configure_optimizers(self):
            return WRONG[name](self, optimizer_of(self))

    with pytest.raises(DalError, match=r"^configure_optimizers: expected [^\n]+[^:]\.$"):
        check_training(learner_of(Wrong).setup, toy_data(), num_validation=0)


class Fused(Mine):
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.01, fused=True)


class OwnClipping(Fused):
    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)


def test_gradients_that_only_the_optimizer_unscales_are_not_clipped():
    options = {"gradient_clip_val": 1.0, "precision": "bf16-mixed"}
    with pytest.raises(DalError) as error:
        check_training(learner_of(Fused, **options).setup, toy_data(), num_validation=0)
    assert str(error.value) == (
        "trainer.gradient_clip_val: expected null with trainer.precision=bf16-mixed and an optimizer with fused=True, "
        "got 1.0."
    )
    for kind, changes in ((OwnClipping, {}), (Mine, {}), (Fused, {"precision": "32-true"})):
        learner = learner_of(kind, **options | changes)
        check_training(learner.setup, learner.data, num_validation=0)
        assert learner.fit().updates == 6


class ManualInSetup(Mine):
    """Turns to manual optimization with two optimizers when the Trainer exists."""

    def setup(self, stage):
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()

    def configure_optimizers(self):
        return [optimizer_of(self.body), optimizer_of(self.head)]


def test_a_module_that_turns_to_manual_optimization_in_setup_trains_all_updates():
    learner = learner_of(ManualInSetup)
    check_training(learner.setup, learner.data, num_validation=0)
    assert [result.updates for result in rounds(learner, 2)] == [6, 6]


def test_an_error_of_lightning_in_training_is_a_sentence_and_one_of_the_user_is_not():
    class Two(Mine):
        configure_optimizers = ManualInSetup.configure_optimizers

    with pytest.raises(
        DalError, match=r"^trainer: expected options that Lightning accepts, got: Training with multiple"
    ):
        learner_of(Two).fit()

    class Logs(Mine):
        def training_step(self, batch, batch_idx):
            self.log("x", "text")

    with pytest.raises(ValueError, match=r"`self\.log"):
        learner_of(Logs).fit()


@pytest.mark.parametrize(
    ("hook", "new"),
    [("training_epoch_end", "on_train_epoch_end"), ("validation_epoch_end", "on_validation_epoch_end")],
)
def test_hooks_that_lightning_has_removed_are_refused_when_the_learner_is_made(hook, new):
    kind = type("Old", (Mine,), {hook: lambda self, outputs: None})
    with pytest.raises(DalError) as error:
        learner_of(kind)
    assert str(error.value) == (
        f"model: expected hooks of Lightning 2, such as {new}(), got {hook}(), which it has removed."
    )


def test_a_module_without_a_training_step_is_refused_when_the_learner_is_made():
    kind = type("Untrained", (Mine,), {"training_step": pl.LightningModule.training_step})
    with pytest.raises(DalError, match=r"^model: expected a module with a training_step\(\), got Untrained"):
        learner_of(kind)


class InInit(Mine):
    def __init__(self):
        super().__init__()
        self.made = optimizer_of(self)

    def configure_optimizers(self):
        return self.made


class Captured(Mine):
    def __init__(self):
        super().__init__()
        made = optimizer_of(self)
        self.make = lambda: made

    def configure_optimizers(self):
        return self.make()


@pytest.mark.parametrize("kind", [InInit, Captured, Mine])
def test_optimizers_of_the_module_are_accepted(kind):
    learner = learner_of(kind)
    check_training(learner.setup, learner.data, num_validation=0)
    assert learner.fit().updates == 6


def test_loaders_of_the_module_are_not_used_and_a_warning_says_so():
    class WithLoaders(Mine):
        def train_dataloader(self):
            raise AssertionError("not called")

        val_dataloader = train_dataloader

    expected = r"^model: dal creates .* does not use train_dataloader\(\) and val_dataloader\(\) of WithLoaders\. "
    with pytest.warns(UserWarning, match=expected):
        assert learner_of(WithLoaders).fit().updates == 6


def test_a_scheduler_with_fewer_steps_than_the_round_is_one_sentence():
    class Short(Mine):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            schedule = OneCycleLR(optimizer, 0.1, total_steps=3)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    with pytest.raises(DalError, match=r"^configure_optimizers: expected a scheduler for all .* total steps is 3\.$"):
        learner_of(Short).fit()
