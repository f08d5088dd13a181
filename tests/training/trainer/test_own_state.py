"""The plain attributes of a module start anew in each round, as in a resumed run."""

import threading

import numpy as np
import pytest
import torch
from helpers.modules import Mine, Validated, learner_of, rounds, settings
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from dal import run
from dal.errors import DalError
from dal.labeling import DatasetOracle
from dal.runs.folder import RunFolder
from dal.stopping import CampaignConfig


class Counts(Mine):
    """Warms up with a counter, and draws from generators."""

    def __init__(self):
        super().__init__()
        self.seen, self.numpy, self.torch = 0, np.random.default_rng(0), torch.Generator().manual_seed(0)

    def training_step(self, batch, batch_idx):
        self.seen += 1
        noise = self.numpy.random() + float(torch.rand((), generator=self.torch))
        return super().training_step(batch, batch_idx) * min(1, self.seen / 20) * (1 + noise)


class OwnStep(Mine):
    """Holds an optimizer and a scheduler."""

    def __init__(self):
        super().__init__()
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        self.schedule = {"scheduler": torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.5), "interval": "step"}

    def configure_optimizers(self):
        return [self.optimizer], [self.schedule]


class Killed(BaseException):
    pass


def campaign(kind, folder, stop_after=None):
    learner = learner_of(kind, num_labels=0)
    fit = learner.fit

    def fit_or_stop(*args, **kwargs):
        if learner.round == stop_after:
            raise Killed
        return fit(*args, **kwargs)

    learner.fit = fit_or_stop
    records = RunFolder(folder, {"seed": 1}, learner.data.fingerprint())
    config = CampaignConfig(initial_size=10, query_size=10, budget=30)
    try:
        run(learner, DatasetOracle(learner.data), config, records=records)
    finally:
        records.close()
    return learner.model.module.state_dict()


@pytest.mark.parametrize("kind", [Counts, OwnStep])
def test_a_resumed_run_with_a_new_module_equals_an_undisturbed_one(kind, tmp_path):
    whole = campaign(kind, tmp_path / "whole")
    with pytest.raises(Killed):
        campaign(kind, tmp_path / "cut", stop_after=1)
    resumed = campaign(kind, tmp_path / "cut")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_shared_objects_stay_shared_and_what_cannot_be_copied_stays():
    class Holds(Counts):
        def __init__(self):
            super().__init__()
            self.a = self.b = [1]
            self.lock, self.part = threading.Lock(), [self.head]

        def on_train_end(self):
            self.a.append(2)
            self.late = True

    learner = learner_of(Holds)
    module = learner.model.module
    lock = module.lock
    rounds(learner, 2)
    assert module.a is module.b and module.a == [1, 2] and module.seen == 6
    assert module.lock is lock and module.part[0] is module.head


class WithMetrics(Validated):
    """Logs metrics with states, and records how many batches they have seen."""

    def __init__(self):
        super().__init__()
        self.val_acc, self.mean = MulticlassAccuracy(3), MeanMetric()
        self.others = torch.nn.ModuleList([MulticlassAccuracy(3)])
        self.counts = []

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.mean.update(loss.detach())
        self.others[0].update(self(batch[0]), batch[1])
        self.counts.append((self.mean.update_count, int(self.others[0].tp.sum() + self.others[0].fn.sum())))
        # The training depends on the state.
        return loss * float(self.mean.compute())

    def validation_step(self, batch, batch_idx):
        super().validation_step(batch, batch_idx)
        self.val_acc(self(batch[0]), batch[1])
        self.log("val_acc", self.val_acc)


def test_metrics_of_the_module_start_anew_in_each_round():
    learner = learner_of(WithMetrics)
    learner.tell_validation(range(80, 90), learner.data.labels[80:90].tolist())
    for _ in range(2):
        rounds(learner, 1)
        assert [count for count, _ in learner.model.module.counts] == [1, 2, 3, 4, 5, 6]
        assert learner.model.module.counts[0][1] == 8


class Queue(Mine):
    """Keeps the features of all batches in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("queue", torch.zeros(0, 6))

    def training_step(self, batch, batch_idx):
        features = self.body(batch[0])
        self.queue = torch.cat([self.queue, features.detach()])
        return super().training_step(batch, batch_idx) + self.queue.mean()


class Passing(Mine):
    """Keeps numbers in buffers that are not stored, one of which grows."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.register_buffer("losses", torch.zeros(0), persistent=False)
        self.register_buffer("late", None, persistent=False)

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.seen += 1
        self.losses = torch.cat([self.losses, loss.detach()[None]])
        self.late = self.losses.sum() if self.late is None else self.late
        return loss * self.losses.mean() / self.seen + self.late


@pytest.mark.parametrize("kind", [WithMetrics, Queue])
def test_a_resumed_run_with_states_equals_an_undisturbed_one(kind, tmp_path):
    whole = campaign(kind, tmp_path / "whole")
    with pytest.raises(Killed):
        campaign(kind, tmp_path / "cut", stop_after=1)
    resumed = campaign(kind, tmp_path / "cut")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_buffers_that_are_not_stored_start_anew_in_each_round():
    learner = learner_of(Passing, training=settings(warm_start="continue"))
    for _ in range(2):
        rounds(learner, 1)
        module = learner.model.module
        assert (int(module.seen), len(module.losses)) == (6, 6) and module.late == module.losses[0]


@pytest.mark.parametrize("warm_start", ["scratch", "continue", "shrink_perturb"])
@pytest.mark.parametrize("monitor", ["none", "train_accuracy"])
def test_a_buffer_may_grow_in_training(warm_start, monitor):
    learner = learner_of(Queue, training=settings(warm_start=warm_start, monitor=monitor))
    sizes = []
    for _ in range(2):
        rounds(learner, 1)
        sizes.append(len(learner.model.module.queue))
    # Each round draws six batches of eight, or keeps the buffer of its best check.
    if monitor == "none":
        assert sizes == ([48, 96] if warm_start == "continue" else [48, 48])
    assert learner.ask(3)


def test_a_parameter_that_changes_its_shape_is_one_sentence():
    class Grows(Mine):
        def on_train_end(self):
            self.body[1].bias = torch.nn.Parameter(torch.zeros(1))

    learner = learner_of(Grows)
    learner.fit()
    with pytest.raises(DalError, match=r"^model: expected parameters that keep their shapes .* 'body\.1\.bias'"):
        learner.fit()
