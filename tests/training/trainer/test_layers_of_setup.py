"""forward() may use what setup(), configure_model() or on_fit_start() creates."""

import pytest
import pytorch_lightning as pl
import torch
from helpers.modules import Mine, learner_of, rounds
from torch import nn

from dal.acquisition import BADGE
from dal.errors import DalError
from dal.runs.records import Records


class LayersOfSetup(Mine):
    def __init__(self):
        super().__init__()
        del self.body

    def setup(self, stage):
        self.steps = self.trainer.estimated_stepping_batches
        self.body = Mine().body


class HeadOfSetup(Mine):
    def __init__(self):
        super().__init__()
        del self.head

    def setup(self, stage):
        self.head = nn.Linear(6, 3)


class AllOfConfigureModel(Mine):
    def __init__(self):
        pl.LightningModule.__init__(self)
        self.body = self.head = None

    def configure_model(self):
        if self.body is None:
            self.body, self.head = Mine().body, nn.Linear(6, 3)


class LayersOfConfigureModel(Mine):
    def __init__(self):
        super().__init__()
        self.body = None

    def configure_model(self):
        if self.body is None:
            self.body = Mine().body


class BufferOfSetup(Mine):
    def setup(self, stage):
        self.register_buffer("middle", torch.tensor(0.5))

    def forward(self, x):
        return super().forward(x - self.middle)


class NumberOfFitStart(Mine):
    def on_fit_start(self):
        self.scale = 2.0

    def forward(self, x):
        return super().forward(x * self.scale)


class NumberOfTrainStart(NumberOfFitStart):
    """A hook that fails after those that create what is missing is not called."""

    on_fit_start = pl.LightningModule.on_fit_start

    def on_train_start(self):
        self.scale = 2.0


class LaterHookFails(LayersOfSetup):
    def on_train_start(self):
        assert self.optimizers() is not None


class NeedsColumns(Mine):
    """Its labels are refused for what they are, and not for setup(), which cannot run yet."""

    def setup(self, stage):
        self.size = self.trainer.datamodule.size

    def training_step(self, batch, batch_idx):
        return nn.functional.binary_cross_entropy_with_logits(self(batch[0])[:, :1], batch[1])


class FailsInSetup(LayersOfSetup):
    def setup(self, stage):
        raise RuntimeError("no files")


KINDS = [
    LayersOfSetup,
    HeadOfSetup,
    AllOfConfigureModel,
    LayersOfConfigureModel,
    BufferOfSetup,
    NumberOfFitStart,
    NumberOfTrainStart,
    LaterHookFails,
]


@pytest.mark.parametrize("kind", KINDS)
def test_such_a_module_trains_and_a_resumed_run_picks_the_same(kind):
    learner = learner_of(kind, acquisition=BADGE())
    learner.fit()
    records = Records()
    records.keep_weights(learner.model.module.state_dict())
    records.commit_round({"round": 0, "updates": 6, "campaign_stopped": None})
    resumed = learner_of(kind, acquisition=BADGE())
    resumed.restore(records)
    picks, again = learner.ask(10), resumed.ask(10)
    assert list(picks) == list(again) and list(picks.scores) == list(again.scores)
    for one, query in ((learner, picks), (resumed, again)):
        one.tell(query, one.data.labels[list(query)].tolist())
        one.fit()
    ends = [one.model.module.state_dict() for one in (learner, resumed)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_two_rounds_with_a_number_of_a_hook_are_those_of_a_constant():
    class Constant(Mine):
        def forward(self, x):
            return super().forward(x * 2.0)

    ends = []
    for kind in (Constant, NumberOfFitStart):
        learner = learner_of(kind, acquisition=BADGE())
        rounds(learner, 2)
        ends.append((learner.pool.labeled.tolist(), learner.model.module.state_dict()))
    assert ends[0][0] == ends[1][0]
    assert all(torch.equal(ends[0][1][name], ends[1][1][name]) for name in ends[0][1])


def test_a_hook_that_fails_is_one_sentence_and_a_missing_layer_stays_an_error_of_the_module():
    with pytest.raises(DalError, match=r"^model: expected a forward\(\) .* setup\(\) .*, got the error: no files\.$"):
        learner_of(FailsInSetup)

    with pytest.raises(DalError, match=r"^batch: expected class numbers"):
        learner_of(NeedsColumns)

    class Missing(Mine):
        def forward(self, x):
            return self.head(self.nothing(x))

    with pytest.raises(AttributeError, match="nothing"):
        learner_of(Missing)


def test_a_head_that_no_hook_creates_is_one_sentence():
    class Misspelt(HeadOfSetup):
        def setup(self, stage):
            self.haed = nn.Linear(6, 3)

    with pytest.raises(
        DalError, match=r"^head: expected the name of a layer that __init__\(\), setup\(\) or .*'head'\.$"
    ):
        learner_of(Misspelt)

    class Ends(HeadOfSetup):
        def setup(self, stage):
            self.head = nn.Sequential(nn.Linear(6, 3), nn.Softmax(1))

    with pytest.raises(DalError, match=r"^head: expected a layer that ends in logits, got Softmax at 'head\.1'\.$"):
        learner_of(Ends)


def test_layers_of_all_kinds_are_new_before_training():
    module = learner_of(LayersOfSetup).model.module
    assert isinstance(module.body, nn.Module) and module._trainer is None
