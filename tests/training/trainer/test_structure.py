"""Weights that callbacks and hooks leave, make or rename."""

import copy
import warnings

import pytest
import torch
from helpers.modules import Mine, learner_of, rounds, settings
from pytorch_lightning import callbacks as pl_callbacks
from pytorch_lightning.callbacks import StochasticWeightAveraging
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dal.acquisition import BADGE, Margin
from dal.errors import DalError
from dal.models.adapt import adapt
from dal.runs.records import Records


class Compiled(Mine):
    def setup(self, stage):
        self.body = torch.compile(self.body, backend="eager")


class CompiledInPlace(Mine):
    def setup(self, stage):
        self.body.compile(backend="eager")


class CompiledForward(Mine):
    def setup(self, stage):
        self.forward = torch.compile(self.forward, backend="eager")


class CompiledWhole(Mine):
    def setup(self, stage):
        self.compile(backend="eager")


class Auxiliary(Mine):
    """A second head that setup() makes, and one that configure_model() makes."""

    extra = None

    def __init__(self):
        super().__init__()
        self.late = None
        self.starts = []

    def setup(self, stage):
        self.second = nn.Linear(6, 3)

    def configure_model(self):
        if self.late is None:
            self.late = nn.Linear(6, 3, bias=False)

    def on_train_start(self):
        self.starts.append({k: v.clone() for k, v in self.state_dict().items()})

    def training_step(self, batch, batch_idx):
        features = self.body(batch[0])
        logits = self.head(features) + self.second(features) + self.late(features)
        return nn.functional.cross_entropy(logits, batch[1])


def watched(**changes):
    return settings(monitor="train_accuracy", target_train_accuracy=2.0, **changes)


COMPILED = [Compiled, CompiledInPlace, CompiledForward, CompiledWhole]


@pytest.mark.parametrize("start", ["scratch", "continue", "shrink_perturb"])
@pytest.mark.parametrize(("kind", "acquisition"), [(kind, BADGE()) for kind in COMPILED] + [(Compiled, Margin())])
def test_a_module_that_compiles_itself_in_setup_trains_as_the_plain_one(start, kind, acquisition):
    ends = []
    for trained in (Mine, kind):
        learner = learner_of(trained, training=watched(warm_start=start), acquisition=acquisition)
        rounds(learner, 3)
        ends.append((learner.pool.labeled.tolist(), learner.model.module.state_dict()))
    (picks, plain), (compiled_picks, compiled) = ends
    assert picks == compiled_picks
    assert plain.keys() == compiled.keys() and all(torch.equal(plain[k], compiled[k]) for k in plain)


@pytest.mark.parametrize("start", ["scratch", "continue"])
def test_layers_that_setup_makes_are_scored_and_made_again(start):
    learner = learner_of(Auxiliary, training=watched(warm_start=start), acquisition=Margin())
    module = learner.model.module
    first = learner.fit()
    kept, first_start = copy.deepcopy(module.state_dict()), module.starts
    learner.tell(query := learner.ask(10), learner.data.labels[list(query)].tolist())
    second = learner.fit()
    assert (first.updates, second.updates) == (6, 6)
    began = [*first_start, *module.starts]
    assert {"second.weight", "late.weight"} < began[0].keys() == began[1].keys()
    for name in began[0]:
        same = torch.equal(kept[name], began[1][name])
        assert same == (start == "continue"), name
    if start == "scratch":
        assert torch.equal(began[0]["head.weight"], began[1]["head.weight"])
        assert not torch.equal(began[0]["second.weight"], began[1]["second.weight"])


@pytest.mark.parametrize("kind", [Compiled, Auxiliary])
def test_a_resumed_run_has_the_layers_that_setup_makes(kind):
    learner = learner_of(kind)
    learner.fit()
    records = Records()
    records.keep_weights(learner.model.module.state_dict())
    records.commit_round({"round": 0, "updates": 6, "campaign_stopped": None})
    resumed = learner_of(kind)
    resumed.pool = type(resumed.pool)(90, 3)
    resumed.restore(records)
    old, new = learner.model.module.state_dict(), resumed.model.module.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)
    other = learner_of(Mine)
    if kind is Auxiliary:
        with pytest.raises(DalError, match="expected the network with which the run started, got another one"):
            other.restore(records)


class Average(pl_callbacks.Callback):
    """As Lightning's WeightAveraging, which the oldest supported version does not have."""

    def setup(self, trainer, module, stage):
        self.average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.5))

    def on_train_batch_end(self, trainer, module, *args):
        self.average.update_parameters(module)

    def on_train_end(self, trainer, module):
        module.load_state_dict(self.average.module.state_dict())


def averages():
    yield Average
    if hasattr(pl_callbacks, "WeightAveraging"):
        yield lambda: pl_callbacks.WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(0.5))


@pytest.mark.parametrize("average", list(averages()), ids=["own", "lightning"][: len(list(averages()))])
@pytest.mark.parametrize("config", [watched(), settings()], ids=["monitor", "none"])
def test_an_average_of_the_user_is_kept(average, config):
    callback = average()
    learner = learner_of(Mine, training=config, callbacks=[callback])
    results = rounds(learner, 2)
    mean = (callback.average if isinstance(callback, Average) else callback._average_model).module.state_dict()
    kept = learner.model.module.state_dict()
    assert all(torch.equal(mean[name], kept[name]) for name in kept)
    assert results[1].best_update == 6
    if config.monitor != "none":
        labeled = learner.pool.labeled
        logits = learner.predict(labeled)
        loss = nn.functional.cross_entropy(logits, learner.pool.labels(labeled))
        assert results[1].best["loss"] == pytest.approx(float(loss), rel=1e-5)
        assert [look["update"] for look in results[1].history] == [2, 4, 6]


def test_lightnings_stochastic_weight_averaging_is_kept():
    plain, averaged = learner_of(Mine), learner_of(Mine, callbacks=[StochasticWeightAveraging(0.01, 0.5)])
    ends = []
    for learner in (plain, averaged):
        rounds(learner, 2)
        ends.append(learner.model.module.head.weight)
    assert not torch.equal(*ends)


def late():
    yield StochasticWeightAveraging(0.01, swa_epoch_start=50)
    if hasattr(pl_callbacks, "EMAWeightAveraging"):
        yield pl_callbacks.EMAWeightAveraging(update_starting_at_step=50)


@pytest.mark.parametrize("config", [watched(), settings()], ids=["monitor", "none"])
@pytest.mark.parametrize("callback", list(late()), ids=lambda callback: type(callback).__name__)
def test_an_average_that_starts_after_the_round_leaves_the_trained_weights(callback, config):
    ends = []
    for callbacks in ([], [callback]):
        learner = learner_of(Mine, training=config, callbacks=callbacks)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            rounds(learner, 2)
        ends.append(learner.model.module.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    words = f"trainer.callbacks: {type(callback).__name__} starts after the "
    assert sum(str(warning.message).startswith(words) for warning in said) == 2


def test_an_average_of_the_user_wins_over_training_average():
    callback = Average()
    learner = learner_of(Mine, training=settings(average=0.5), callbacks=[callback])
    with pytest.warns(UserWarning, match=r"^training.average: a callback or hook has set other weights"):
        learner.fit()
    mean, kept = callback.average.module.state_dict(), learner.model.module.state_dict()
    assert all(torch.equal(mean[name], kept[name]) for name in kept)


def test_a_callback_that_leaves_the_weights_alone_changes_nothing():
    ends = []
    for callbacks in ([], [pl_callbacks.Callback()]):
        learner = learner_of(Mine, training=watched(), callbacks=callbacks)
        learner.fit()
        ends.append(learner.model.module.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_head_that_setup_may_create_is_accepted_and_another_name_is_not():
    class Headless(Mine):
        def __init__(self):
            super().__init__()
            del self.head

        def setup(self, stage):
            self.head = nn.Linear(6, 3)

    assert adapt(Headless(), "head").head == "head"
    with pytest.raises(DalError, match=r"^head: expected the name of the last layer"):
        adapt(Headless(), "haed")
    bare = Headless()
    del bare.body
    with pytest.raises(DalError) as error:
        adapt(bare, "haed")
    assert str(error.value) == (
        "head: expected a layer of the module, created in __init__(), setup() or configure_model(), got 'haed'."
    )
