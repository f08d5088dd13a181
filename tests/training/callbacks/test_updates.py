"""Updates are batches that change the weights, whoever steps the optimizer."""

import pytest
import pytorch_lightning as pl
import torch
from helpers.modules import Mine, learner_of, rounds, settings
from torch import nn
from torch.optim import optimizer as optimizers

from dal import run
from dal.errors import DalError
from dal.labeling import DatasetOracle
from dal.stopping import CampaignConfig


class TwoOptimizers(Mine):
    automatic_optimization = False

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.batches = 0

    def training_step(self, batch, batch_idx):
        self.batches += 1
        self.facts = (self.trainer.max_epochs, self.trainer.estimated_stepping_batches)
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(nn.functional.cross_entropy(self(batch[0]), batch[1]))
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), lr=0.05) for part in (self.body, self.head)]


class OneByHand(TwoOptimizers):
    """Steps PyTorch's optimizer itself, so that Lightning's global_step stands still."""

    every = 1

    def training_step(self, batch, batch_idx):
        self.batches += 1
        optimizer = self.optimizers(use_pl_optimizer=False)
        self.manual_backward(nn.functional.cross_entropy(self(batch[0]), batch[1]))
        if self.every and self.batches % self.every == 0:
            optimizer.step()
            optimizer.zero_grad()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


class Accumulates(OneByHand):
    every = 4


class NeverSteps(OneByHand):
    every = 0


class StopsStepping(OneByHand):
    def training_step(self, batch, batch_idx):
        self.every = int(self.batches < 3)
        super().training_step(batch, batch_idx)


class Sharp(OneByHand):
    """Two steps of each batch, as in sharpness-aware minimization."""

    def training_step(self, batch, batch_idx):
        super().training_step(batch, batch_idx)
        self.batches -= 1
        super().training_step(batch, batch_idx)


class Skips(Mine):
    def on_train_batch_start(self, batch, batch_idx):
        return -1


class Looks(pl.Callback):
    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, *args):
        self.steps.append(trainer.global_step)


@pytest.mark.parametrize(("kind", "batches"), [(TwoOptimizers, 12), (OneByHand, 12), (Sharp, 12), (Accumulates, 48)])
def test_manual_optimization_counts_batches_that_lead_to_a_step(kind, batches):
    config = settings(max_updates=12, monitor="train_accuracy", check_every=6, target_train_accuracy=2.0)
    learner = learner_of(kind, training=config)
    results = rounds(learner, 2)
    assert [(result.updates, result.stopped_because) for result in results] == [(12, "max_updates")] * 2
    assert [look["update"] for look in results[0].history] == [6, 12]
    assert learner.model.module.batches == batches, "of the last round"


def test_facts_and_averages_are_in_the_same_unit():
    learner = learner_of(TwoOptimizers, training=settings(max_updates=12, average=0.5))
    learner.fit()
    assert learner.model.module.facts == (4, 12)


def test_a_module_that_never_steps_is_named():
    with pytest.raises(DalError) as error:
        learner_of(NeverSteps).fit()
    assert str(error.value).startswith("training: expected at least one update in the round, got none in 100 batches.")


def test_a_round_ends_where_updates_stand_still():
    learner = learner_of(StopsStepping)
    result = learner.fit()
    assert (result.updates, result.stopped_because) == (3, "no_update")
    assert learner.model.module.batches == 103


def test_a_hook_that_skips_all_batches_is_named():
    message = r"^training: expected at least one update in the round, got none in 0 batches\."
    with pytest.raises(DalError, match=message):
        learner_of(Skips).fit()


def test_a_callback_that_stops_at_once_is_named():
    class Stop(pl.Callback):
        def on_train_start(self, trainer, module):
            trainer.should_stop = True

    with pytest.raises(DalError, match=r"^training: expected at least one update"):
        learner_of(Mine, callbacks=[Stop()]).fit()


def test_no_hook_stays_in_optimizers():
    before = dict(optimizers._global_optimizer_post_hooks)
    learner_of(OneByHand).fit()
    assert dict(optimizers._global_optimizer_post_hooks) == before


class WithoutLoss(Mine):
    def training_step(self, batch, batch_idx):
        return None


class OfAnother(Mine):
    def configure_optimizers(self):
        return torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)


class WithoutOptimizer(Mine):
    def configure_optimizers(self):
        return None


class AllFrozen(Mine):
    def training_step(self, batch, batch_idx):
        self.requires_grad_(False)
        return super().training_step(batch, batch_idx).requires_grad_()


@pytest.mark.parametrize("kind", [WithoutLoss, OfAnother, WithoutOptimizer, AllFrozen])
def test_a_round_that_trains_no_parameter_is_an_error(kind):
    with pytest.raises(DalError) as error:
        learner_of(kind).fit()
    assert str(error.value).startswith(
        "training: expected a step for at least one parameter of the module, got none in 6 batches. Check that "
    )


class WarmsUp(Mine):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class SomeFrozen(Mine):
    def __init__(self):
        super().__init__()
        self.body.requires_grad_(False)


class ByHand(torch.optim.Optimizer):
    """Steps the data of copies of the parameters."""

    def __init__(self, parameters):
        self.real = list(parameters)
        super().__init__([nn.Parameter(p.detach().clone()) for p in self.real], {})

    def step(self, closure=None):
        loss = closure()
        for parameter in self.real:
            parameter.data -= 0.1 * parameter.grad
        return loss


class OfCopies(Mine):
    def configure_optimizers(self):
        return ByHand(self.parameters())


@pytest.mark.parametrize("kind", [WarmsUp, SomeFrozen, OfCopies])
def test_learning_rate_zero_frozen_parts_and_copied_parameters_are_training(kind):
    assert learner_of(kind).fit().updates == 6


@pytest.mark.parametrize("validation", [0, 5])
def test_a_module_without_an_optimizer_is_refused_before_a_label_is_bought(validation):
    learner = learner_of(WithoutOptimizer, num_labels=0)
    oracle = DatasetOracle(learner.data)
    config = CampaignConfig(initial_size=10, query_size=10, budget=30, validation_size=validation)
    with pytest.raises(DalError, match=r"^configure_optimizers: expected an optimizer, got None\.$"):
        run(learner, oracle, config)
    assert learner.pool.num_labeled == 0
