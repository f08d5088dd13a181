"""Common heads work; others are refused by name."""

import warnings
from contextlib import nullcontext

import pytest
import torch
from helpers.own_modules import OwnModule, dense, learner_of, noise_data, two_rounds
from torch import nn

from dal.acquisition import BADGE, BALD, ALFAMix, Margin
from dal.errors import DalError
from dal.models import adapt
from dal.models.adapted.head import has_other_order
from dal.models.adapted.scoring_model import scoring_view


def conv(*last):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 6, 3, 2), nn.ReLU(), *last)


POOL = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
HEADS = {
    "without bias": (lambda: dense(nn.Dropout(0.5), nn.Linear(6, 3, bias=False)), "net.3"),
    "sequential": (lambda: dense(nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3))), "net.2"),
    "log-probabilities": (lambda: dense(nn.Dropout(0.5), nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(1))), "net.3"),
    "pooled, then 1x1": (lambda: conv(POOL[0], nn.Dropout(0.5), nn.Conv2d(6, 3, 1), nn.Flatten()), "net.4"),
    "1x1, then pooled": (lambda: conv(nn.Dropout(0.5), nn.Conv2d(6, 3, 1), *POOL), "net.3"),
    "as in SqueezeNet": (lambda: conv(nn.Dropout(0.5), nn.Conv2d(6, 3, 1), nn.ReLU(), *POOL), "net.3"),
    "whole map": (lambda: conv(nn.Dropout(0.5), nn.Conv2d(6, 3, 3), nn.Flatten()), "net.3"),
    "as in ConvNeXt": (lambda: conv(POOL[0], nn.Dropout(0.5), nn.Sequential(POOL[1], nn.Linear(6, 3))), "net.4"),
}


@pytest.mark.parametrize("name", HEADS)
def test_features_and_logits_of_common_heads(name):
    net, head = HEADS[name]
    module = OwnModule(net()).eval()
    x = torch.randn(5, 1, 8, 8)
    with scoring_view(adapt(module, head)) as view:
        features, expected = view.features(x), module(x)
        assert features.ndim == 2
        torch.testing.assert_close(view.logits(x), expected)
        torch.testing.assert_close(view.head(features), expected)
        draws = view.mc_log_probs(x, 3)
    assert draws.shape == (5, 3, 3) and not torch.equal(draws[:, 0], draws[:, 1])


@pytest.mark.parametrize("function", [BADGE(), ALFAMix(), BALD(num_draws=3)])
@pytest.mark.parametrize("name", ["1x1, then pooled", "as in SqueezeNet"])
def test_a_convolution_as_head_lives_through_two_rounds(name, function):
    net, head = HEADS[name]
    assert len(two_rounds(learner_of(adapt(OwnModule(net()), head), function))) == 6


class Binary(OwnModule):
    def forward(self, x):
        return self.net(x).sigmoid()

    def training_step(self, batch, batch_idx):
        return nn.functional.binary_cross_entropy(self(batch[0]).flatten(), batch[1].float())


@pytest.mark.parametrize("function", [Margin(), BADGE(), BALD(num_draws=3), ALFAMix()])
def test_one_logit_is_that_of_the_second_of_two_classes(function):
    data = noise_data(2)
    learner = learner_of(adapt(Binary(dense(nn.Dropout(0.5), nn.Linear(6, 1))), "net.3"), function, data)
    two_rounds(learner)
    probs = learner.predict(torch.arange(40)).softmax(dim=1)
    expected = learner.model.module.eval()(data.plain(range(40))).detach()[:, 0]
    torch.testing.assert_close(probs[:, 1], expected)
    accuracy = float(((expected > 0.5).long() == data.labels).double().mean())
    assert learner.evaluate(data).accuracy == accuracy


def test_the_layer_itself_is_its_name():
    module = OwnModule(dense())
    assert adapt(module, head=module.net[4]).head == "net.4"
    with pytest.raises(DalError, match=r"^head: expected a layer of the module, or its name, got 'Linear'\.$"):
        adapt(module, head=nn.Linear(6, 3))


REFUSED = {
    "probabilities": (
        lambda: dense(nn.Sequential(nn.Linear(6, 3), nn.Softmax(1))),
        "net.2",
        "head: expected a layer that ends in logits, got Softmax at 'net.2.1'.",
    ),
    "other number": (
        lambda: dense(nn.Sequential(nn.Linear(6, 4))),
        "net.2",
        "model: expected a last layer with 3 outputs, one for each class of the data, got 4 outputs at 'net.2'.",
    ),
    "pools": (
        lambda: conv(nn.Sequential(*POOL, nn.Linear(6, 3))),
        "net.2",
        "head: expected a layer from (B, D) features to (B, C) logits at 'net.2', perhaps 'net.2.2', got "
        "'(3, 6, 3, 3) to (3, 3)'.",
    ),
    "maximum": (
        lambda: conv(nn.Conv2d(6, 3, 1), nn.AdaptiveMaxPool2d(1), nn.Flatten()),
        "net.2",
        "head: expected forward() only to average the outputs of the convolution 'net.2', got other "
        "numbers. Pass predict=, a function (module, x) that returns (logits, features).",
    ),
    "two outputs": (
        lambda: nn.Sequential(nn.Flatten(1, 2), nn.LSTM(8, 6), nn.Identity()),
        "net.1",
        "head: expected a layer from features to logits at 'net.1', got 'Tensor to tuple'.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_heads_are_refused_by_name_before_a_label_is_bought(name):
    net, head, sentence = REFUSED[name]
    with pytest.raises(DalError) as error:
        learner_of(adapt(OwnModule(net()), head), Margin())
    assert str(error.value) == sentence


def test_one_logit_for_three_classes_is_refused():
    with pytest.raises(DalError, match=r"^model: expected a last layer with 3 outputs, .* got 1 outputs at 'net.2'"):
        learner_of(adapt(OwnModule(dense(nn.Linear(6, 1))), "net.2"), Margin())


AFTER = {
    "negated": (lambda z: -z, True),
    "other classes": (lambda z: z.roll(1, dims=1), True),
    "scaled": (lambda z: 50 * z, False),
    "softmax": (lambda z: z.softmax(dim=1), False),
    "log-softmax": (lambda z: z.log_softmax(dim=1), False),
    "sigmoid": (lambda z: z.sigmoid(), False),
    "half precision": (lambda z: z.bfloat16().softmax(dim=1), False),
    "class": (lambda z: z.argmax(dim=1), False),
    "nothing": (lambda z: None, False),
    "a pair": (lambda z: (z, z), False),
    "embedding": (lambda z: torch.cat([z, -z], dim=1), False),
}


class Changed(nn.Module):
    def __init__(self, after, outputs=3):
        super().__init__()
        self.body, self.after = dense(nn.Dropout(0.5)), after
        self.fc = nn.Linear(6, outputs)

    def forward(self, x):
        return self.after(self.fc(self.body(x)))


OTHER_CLASSES = (
    r"^model: expected forward\(\) to choose the classes that the output of the layer 'net\.fc' chooses, got other "
    r"classes, as after a change of sign\. Name the layer that returns logits as head=, or pass predict=\.$"
)


@pytest.mark.parametrize("name", AFTER)
def test_an_output_that_chooses_other_classes_than_the_head_is_refused(name):
    after, is_refused = AFTER[name]
    model = adapt(OwnModule(Changed(after)), "net.fc")
    with warnings.catch_warnings(), pytest.raises(DalError, match=OTHER_CLASSES) if is_refused else nullcontext():
        warnings.simplefilter("error")
        learner_of(model, Margin())


def test_a_bias_that_is_learned_after_the_head_is_refused():
    own = nn.BatchNorm1d(3)
    expected = r"^model: expected .* 'net\.fc' chooses, .* after a change of all weights, .* Pass predict="
    with pytest.raises(DalError, match=expected):
        learner_of(adapt(OwnModule(Changed(own)), "net.fc"), Margin())
    assert own.weight.tolist() == [1.0] * 3 and own.running_mean.tolist() == [0.0] * 3


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_change_of_sign_is_refused_for_two_classes_too(outputs):
    with pytest.raises(DalError, match=OTHER_CLASSES):
        learner_of(adapt(OwnModule(Changed(torch.neg, outputs)), "net.fc"), Margin(), noise_data(2))


def test_a_change_of_sign_with_predict_trains():
    model = OwnModule(Changed(torch.neg))

    def predict(module, x):
        features = module.net.body(x)
        return -module.net.fc(features), features

    two_rounds(learner_of(adapt(model, predict=predict), Margin()))


def test_an_output_that_only_orders_the_other_classes_differently_is_said():
    def swapped(z):
        order = z.argsort(dim=1)
        return z.scatter(1, order[:, :2].flip(1), z.gather(1, order[:, :2]))

    with pytest.warns(UserWarning, match=r"^model: the output of forward\(\) orders the classes unlike the layer 'net"):
        learner_of(adapt(OwnModule(Changed(swapped)), "net.fc"), Margin())


@pytest.mark.parametrize(("after", "other"), [(torch.neg, True), (torch.sigmoid, False), (torch.ravel, False)])
def test_a_single_output_is_compared_between_images(after, other):
    out = torch.tensor([[-1.0], [0.5], [2.0]])
    assert has_other_order(after(out), out) is other
