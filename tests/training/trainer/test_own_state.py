"""The plain attributes of a module start anew in each round, as in a resumed run."""

import threading

import numpy as np
import pytest
import torch
from helpers.modules import Mine, learner_of, rounds

from dal import run
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
    learner = learner_of(kind)
    learner.pool = type(learner.pool)(len(learner.data), 3)
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
