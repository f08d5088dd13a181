"""A module that dal cannot train or score is refused when the learner is made."""

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from helpers.own_modules import DictModule, OwnModule, dense, learner_of, two_rounds
from torch import nn

from dal.acquisition import BADGE, BALD, EGL, ALFAMix, DropQuery, Margin
from dal.errors import DalError
from dal.models import adapt


class NoForward(pl.LightningModule):
    """Scores by a method of another name."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.fc = nn.Linear(64, 6), nn.Linear(6, 3)

    def scores(self, x):
        return self.fc(self.body(x.flatten(1)).relu())

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.scores(batch[0]), batch[1])

    configure_optimizers = OwnModule.configure_optimizers


def scores_and_features(module, x):
    features = module.body(x.flatten(1)).relu()
    return F.linear(features, module.fc.weight, module.fc.bias), features


class Meta(OwnModule):
    def training_step(self, batch, batch_idx):
        x, y, _ = batch
        return super().training_step((x, y), batch_idx)


class Attributes(OwnModule):
    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch.x), batch.y)


class InAHelper(OwnModule):
    def training_step(self, batch, batch_idx):
        return self.shared(batch)

    def shared(self, batch):
        return F.cross_entropy(self(batch["image"]), batch["label"])


REMEDY = ". Pass batch= to adapt(), either a function (x, y) or the names of a dict."


@pytest.mark.parametrize(
    ("kind", "batch", "found"),
    [
        (DictModule, None, "a tuple and the error 'tuple indices must be integers or slices, not str'"),
        (InAHelper, None, "a tuple and the error 'tuple indices must be integers or slices, not str'"),
        (Meta, None, "a tuple and the error 'not enough values to unpack (expected 3, got 2)'"),
        (Attributes, None, "a tuple and the error \"'tuple' object has no attribute 'x'\""),
        (DictModule, ("img", "label"), "a dict and the error \"KeyError: 'image'\""),
    ],
)
def test_a_batch_that_training_step_cannot_take_apart(kind, batch, found):
    with pytest.raises(DalError) as error:
        learner_of(adapt(kind(dense()), "net.4", batch=batch), Margin())
    expected = f"batch: expected a batch that training_step of {kind.__name__} takes, got {found}{REMEDY}"
    assert str(error.value) == expected


def test_the_trial_leaves_the_module_alone_and_forgives_what_needs_a_trainer():
    class Counts(OwnModule):
        steps = 0

        def training_step(self, batch, batch_idx):
            self.steps += 1
            self.optimizers().zero_grad()
            return super().training_step(batch, batch_idx)

    class Prepares(OwnModule):
        def on_train_start(self):
            self.store = {"weight": torch.ones(3)}

        def training_step(self, batch, batch_idx):
            return F.cross_entropy(self(batch[0]), batch[1], self.store["weight"])

    for kind in (Counts, Prepares):
        learner = learner_of(adapt(kind(dense()), "net.4"), Margin())
        assert getattr(learner.model.module, "steps", 0) == 0
        two_rounds(learner)


def test_a_module_without_forward_is_told_the_argument():
    with pytest.raises(DalError) as error:
        learner_of(adapt(NoForward(), "fc"), Margin())
    assert str(error.value) == (
        "model: expected NoForward to define forward(x), got none. Pass the name of the method that takes "
        "images to adapt(), as forward=."
    )


@pytest.mark.parametrize("how", ["scores", "bound", lambda module, x: module.scores(x)])
def test_what_scores_in_place_of_forward(how):
    module = NoForward()
    learner = learner_of(adapt(module, "fc", forward=module.scores if how == "bound" else how), BADGE())
    two_rounds(learner)
    expected = module.eval().scores(learner.data.plain([3])).detach()
    torch.testing.assert_close(learner.predict(torch.tensor([3])), expected)


@pytest.mark.parametrize("function", [Margin(), BADGE(), EGL()])
def test_a_function_that_gives_logits_and_features_is_all_it_takes(function):
    module = NoForward()
    learner = learner_of(adapt(module, predict=scores_and_features), function)
    two_rounds(learner)
    expected = module.eval().scores(learner.data.plain([3])).detach()
    torch.testing.assert_close(learner.predict(torch.tensor([3])), expected)


@pytest.mark.parametrize("function", [ALFAMix(), DropQuery()])
def test_a_function_that_changes_features_needs_the_head(function):
    with pytest.raises(DalError, match=r"^model: expected head= in addition to predict= for a function that changes"):
        learner_of(adapt(NoForward(), predict=scores_and_features), function)
    assert len(two_rounds(learner_of(adapt(NoForward(), "fc", predict=scores_and_features), function))) == 6


@pytest.mark.parametrize(
    ("found", "got"),
    [
        (lambda m, x: m.scores(x), "'Tensor'"),
        (lambda m, x: (m.scores(x), x), r"\[\(3, 3\), \(3, 1, 8, 8\)\]"),
        (lambda m, x: (m.scores(x)[:2], m.scores(x)), r"\[\(2, 3\), \(3, 3\)\]"),
    ],
)
def test_a_function_that_gives_something_else(found, got):
    with pytest.raises(DalError, match=rf"^predict: expected \(logits, features\) of shapes \(3, C\) .* got {got}\.$"):
        learner_of(adapt(NoForward(), predict=found), Margin())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"forward": "missing"}, "forward: expected the name of a method of NoForward, got 'missing'."),
        ({"forward": 3}, "forward: expected the name of a method, or a function (module, x), got 3."),
        ({"predict": "scores"}, "predict: expected a function (module, x) that returns (logits, features), got "),
        ({"forward": "scores", "predict": print}, "forward: expected None with predict, which replaces it, got "),
        ({"head": None}, "head: expected the name of the last layer, perhaps 'fc', got None."),
    ],
)
def test_arguments_that_make_no_sense(settings, sentence):
    with pytest.raises(DalError) as error:
        adapt(NoForward(), **{"head": "fc"} | settings)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize("model", [OwnModule(dense()), "resnet18", 3, dense()])
def test_what_is_no_model_is_told_about_adapt(model):
    with pytest.raises(DalError, match=r"^model: expected a Classifier or adapt\(module, head=\.\.\.\)"):
        learner_of(model, Margin())


def test_draws_are_refused_before_a_label_is_bought():
    with pytest.raises(DalError, match=r"^model: expected a dropout layer for MC dropout, got a network without one"):
        learner_of(adapt(OwnModule(dense(nn.Linear(6, 3))), "net.2"), BALD(num_draws=3))
    torch.manual_seed(0)
    mixes = dense(nn.Dropout(0.5), nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 3))
    with pytest.raises(DalError, match="process the images of a batch independently"):
        learner_of(adapt(OwnModule(mixes), "net.4"), BALD(num_draws=3))
