"""Draws of dropout that is no nn.Dropout layer, or that stands elsewhere: K networks, the same for every image."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from helpers.own_modules import OwnModule, dense, learner_of, two_rounds
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torchmetrics.classification import MulticlassAccuracy

from dal.acquisition import BADGE, BALD, Margin
from dal.models import Classifier, adapt
from dal.models.adapted.scoring_model import scoring_view
from dal.models.backbones import SmallCNN
from dal.models.dropout.draws import SeededDraws, WideDraws


class Function(nn.Module):
    """Dropout by a function, after BatchNorm and a layer that training changes."""

    def __init__(self, always=False):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.norm = spectral_norm(nn.Linear(64, 6)), nn.BatchNorm1d(6)
        self.head, self.always = nn.Linear(6, 3), always

    def forward(self, x):
        x = self.norm(self.layer(x.flatten(1))).tanh()
        return self.head(F.dropout(x, 0.5, training=self.always or self.training))


class SequenceFirst(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.head = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.encoder(x[:, 0].transpose(0, 1)).mean(dim=0))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers, self.head = nn.LSTM(8, 6, 2, dropout=0.5, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.layers(x[:, 0])[0][:, -1])


class Depth(nn.Module):
    """Stochastic depth, decided in Python, which vmap cannot run."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Linear(64, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.first(x.flatten(1).squeeze())
        if not self.training or float(torch.rand(())) < 0.5:
            x = x + self.second(x)
        return self.head(x)


class Always(nn.Dropout):
    def forward(self, x):
        return F.dropout(x, self.p, training=True)


def always_layer():
    torch.manual_seed(1)
    return dense(Always(0.5), nn.Linear(6, 3))


SEEDED = {"function": Function, "sequence first": SequenceFirst, "recurrent": Recurrent, "depth": Depth}
X = torch.randn(9, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def head_of(net):
    return "net.head" if hasattr(net, "head") else f"net.{len(net) - 1}"


@pytest.mark.parametrize("name", SEEDED)
def test_draws_are_networks_whatever_the_batch(name):
    module = OwnModule(SEEDED[name]())
    before = {key: value.clone() for key, value in module.state_dict().items()}
    adapted = adapt(module, head_of(module.net))
    with scoring_view(adapted, 3) as view:
        whole = view.mc_log_probs(X, 6)
        assert isinstance(view.draws(X, 6), SeededDraws)
        parts = torch.cat([view.mc_log_probs(part, 6) for part in X.split(2)])
        backwards = view.mc_log_probs(X.flip(0), 6).flip(0)
    assert whole.shape == (9, 6, 3)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(backwards, whole, rtol=1e-4, atol=1e-5)
    assert whole.std(dim=1).mean() > 1e-3
    with scoring_view(adapted, 4) as view:
        assert not torch.allclose(view.mc_log_probs(X, 6), whole)
    # Nothing that training would move has moved.
    assert module.training and all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_a_draw_masks_the_same_units_of_every_image():
    module = OwnModule(Function())
    seen = []
    module.net.head.register_forward_pre_hook(lambda layer, args: seen.append(args[0] == 0))
    with scoring_view(adapt(module, "net.head")) as view:
        draws = view.draws(X, 2)
        draws._rows._is_vectorized = False
        seen.clear()
        draws(X)
    masks = torch.cat(seen).view(2, 9, 6)
    assert torch.equal(masks, masks[:, :1].expand_as(masks)) and not torch.equal(masks[0], masks[1])


def test_parts_that_their_owner_has_frozen_draw_nothing():
    module = OwnModule(nn.Sequential(Function(), nn.Linear(3, 3)))
    module.net[0].eval()
    with scoring_view(adapt(module, "net.1")) as view, pytest.raises(ValueError, match="expected a dropout layer"):
        view.mc_log_probs(X, 3)


@pytest.mark.parametrize("net", [lambda: Function(always=True), always_layer])
@pytest.mark.parametrize("function", [Margin(), BADGE(), BALD(num_draws=4)], ids=lambda function: function.name)
def test_dropout_that_is_always_on_is_said_and_picks_do_not_depend_on_the_tile(net, function):
    picks = []
    for tile_size in (3, 16):
        with pytest.warns(UserWarning, match=r"^model: forward\(\) is random in eval mode"):
            made = net()
            learner = learner_of(adapt(OwnModule(made), head_of(made)), function, tile_size=tile_size)
        picks.append(list(two_rounds(learner)))
    assert picks[0] == picks[1]


@pytest.mark.parametrize("function", [Margin(), BALD(num_draws=4)], ids=lambda function: function.name)
def test_dropout_and_head_inside_of_a_compiled_part(function):
    module = OwnModule(torch.compile(dense(), backend="eager"))
    module(X)
    learner = learner_of(adapt(module, "net._orig_mod.4"), function)
    plain = learner_of(adapt(OwnModule(dense()), "net.4"), function)
    torch.testing.assert_close(learner.predict(torch.arange(9)), plain.predict(torch.arange(9)))
    if function.needs_dropout:
        with scoring_view(learner.model) as view:
            assert isinstance(view.draws(X, 4), WideDraws)
            assert view.mc_log_probs(X, 4).std(dim=1).mean() > 1e-3


class Attention(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(8, 2, dropout, batch_first=True)
        self.drop, self.head = nn.Dropout(0.1), nn.Linear(8, 3)

    def forward(self, x):
        x = x[:, 0]
        return self.head(self.drop(self.attention(x, x, x)[0].mean(dim=1)))


def test_randomness_that_the_draws_leave_out_is_named():
    with pytest.warns(UserWarning) as said:
        learner_of(adapt(OwnModule(Attention(0.5)), "net.head"), BALD(num_draws=4))
    (text,) = [str(w.message) for w in said if str(w.message).startswith("model:")]
    assert text.startswith("model: the draws omit randomness of training in MultiheadAttention. Their log-prob")
    assert text.endswith("Set its rate to 0, or use nn.Dropout layers.")


def test_metrics_are_not_named_as_randomness():
    module = OwnModule(Attention(0.5))
    module.accuracy = MulticlassAccuracy(3)
    with pytest.warns(UserWarning, match=r"omit randomness of training in MultiheadAttention\. ") as said:
        learner_of(adapt(module, "net.head"), BALD(num_draws=4))
    assert not any("MulticlassAccuracy" in str(w.message) for w in said)


@pytest.mark.parametrize(
    "model",
    [
        lambda: adapt(OwnModule(Attention(0.0)), "net.head"),
        lambda: adapt(OwnModule(Function()), "net.head"),
        lambda: Classifier(SmallCNN(1, (8, 8)), 3),
    ],
    ids=["all seen", "all drawn by itself", "classifier"],
)
def test_nothing_is_said_where_nothing_is_left_out(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner_of(model(), BALD(num_draws=4))
